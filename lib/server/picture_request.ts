import { Type, type Static } from 'typebox';
import { Compile } from 'typebox/compile';
import { RequestError } from './errors.js';

/** What a request may ask for at most. Requests come from strangers, and a picture's time and memory grow with these. */
export interface ServerLimits {
  /** Width times height; 2^21 by default, as of 2048 x 1024. */
  maxPixels: number;
  /** 100 by default. */
  maxSteps: number;
  /** Pictures of one request; 8 by default. */
  maxPictures: number;
  /** Bytes of a request's body, pictures to begin from included; 32 MiB by default. */
  maxBodyBytes: number;
  /** Requests that wait; 100 by default. */
  maxQueue: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  maxPixels: 2 ** 21, maxSteps: 100, maxPictures: 8, maxBodyBytes: 32 * 2 ** 20, maxQueue: 100,
};

/** What requests can be for. */
export interface Offer {
  readonly limits: ServerLimits;
  /** Names that the operator gave; the first is what is taken where a request names none. */
  readonly models: readonly string[];
  readonly loras: readonly string[];
  readonly schedulers: readonly string[];
}

/** A request for pictures: what every dialect's becomes. Its schema is what the OpenAPI document shows, and what checks it. */
export function pictureRequestSchema({ limits, models, loras, schedulers }: Offer) {
  const oneOf = (names: readonly string[], description: string) =>
    Type.Unsafe<string>({ type: 'string', description, ...names.length > 0 ? { enum: [...names] } : { not: {} } });
  const side = (name: string) =>
    Type.Integer({ minimum: 8, maximum: 16384, description: `${name} in pixels, a multiple of 8; by default the model's` });
  const picture = (description: string) => Type.String({ description, maxLength: limits.maxBodyBytes });
  return Type.Object({
    prompt: Type.String({ maxLength: 4000, description: 'what to show' }),
    negativePrompt: Type.Optional(Type.String({ maxLength: 4000, description: 'what not to show' })),
    model: Type.Optional(oneOf(models, 'one of the models of /v1/models; the first by default')),
    width: Type.Optional(side('width')),
    height: Type.Optional(side('height')),
    steps: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.maxSteps, description: "denoising steps; by default the pipeline's" })),
    guidanceScale: Type.Optional(Type.Number({ minimum: 0, maximum: 100, description: 'how closely to follow the prompt' })),
    scheduler: Type.Optional(oneOf(schedulers, 'a scheduler\'s class; by default the model\'s own')),
    seed: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 53 - 1, description: 'picture i has seed + i; drawn by default' })),
    count: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.maxPictures, description: 'how many pictures; 1 by default' })),
    image: Type.Optional(picture('a picture to begin from: a file\'s bytes in base64')),
    mask: Type.Optional(picture('white where image is to change: a file\'s bytes in base64')),
    strength: Type.Optional(Type.Number({ minimum: 0, maximum: 1, description: 'how much of image to give up' })),
    loras: Type.Optional(Type.Array(
      Type.Object({ name: oneOf(loras, 'a LoRA that the server has'), scale: Type.Optional(Type.Number({ minimum: -10, maximum: 10 })) },
        { additionalProperties: false }),
      { maxItems: 8 },
    )),
  }, { additionalProperties: false, $id: 'PictureRequest' });
}

export type PictureRequest = Static<ReturnType<typeof pictureRequestSchema>>;

/** Checks what a dialect made of its own request. @throws RequestError naming the field, what it got is left out: it may be long. */
export function requestChecker(offer: Offer): (request: unknown) => PictureRequest {
  const described = pictureRequestSchema(offer);
  const schema = Compile(described);
  return given => {
    const request = dropUndefined(checkObject(given));
    const stranger = Object.keys(request).find(name => !Object.hasOwn(described.properties, name));
    if (stranger !== undefined) throw new RequestError(`there is no field ${JSON.stringify(stranger.slice(0, 100))}`);
    const [error] = schema.Errors(request);
    if (error) throw new RequestError(`${error.instancePath.slice(1).replaceAll('/', '.') || 'the request'}: ${error.message}`);
    const checked = request as PictureRequest;
    const { width = 0, height = 0 } = checked;
    if (width * height > offer.limits.maxPixels) {
      throw new RequestError(`width, height: got ${width} x ${height}, takes up to ${offer.limits.maxPixels} pixels`);
    }
    for (const side of ['width', 'height'] as const) {
      if ((checked[side] ?? 0) % 8 !== 0) throw new RequestError(`${side}: got ${checked[side]}, takes a multiple of 8`);
    }
    if ((checked.mask || checked.strength !== undefined) && !checked.image) {
      throw new RequestError(`${checked.mask ? 'mask' : 'strength'}: takes an image too`);
    }
    return checked;
  };
}

/** A body that has fields. @throws RequestError */
export function checkObject(body: unknown): Readonly<Record<string, unknown>> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new RequestError('the request: takes a JSON object');
  return body as Record<string, unknown>;
}

function dropUndefined(given: object): object {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined && value !== null));
}
