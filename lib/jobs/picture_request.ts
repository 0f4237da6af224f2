import { randomInt } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { Compile } from 'typebox/compile';
import { RequestError } from './errors.js';
import { checkGuidance, GUIDANCE } from './guidance_request.js';

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
  /** Seconds in which a request has to have come in; 120 by default. */
  maxBodySeconds: number;
  /** Requests that wait; 100 by default, and as many again with a delay. */
  maxQueue: number;
  /** Bytes that bodies which come in, and requests that wait, hold together; 512 MiB by default. */
  maxWaitingBytes: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  maxPixels: 2 ** 21, maxSteps: 100, maxPictures: 8, maxBodyBytes: 32 * 2 ** 20, maxBodySeconds: 120, maxQueue: 100,
  maxWaitingBytes: 2 ** 29,
};

/** What is the same for all requests to a server. */
export interface RequestRules {
  readonly limits: ServerLimits;
  /** Classes of schedulers. */
  readonly schedulers: readonly string[];
}

/** What requests can name: what the operator gave names to. It may change where models are on other machines. */
export interface Offer {
  /** The first is what is taken where a request names none. */
  readonly models: readonly string[];
  readonly loras: readonly string[];
}

/** Looks at the first picture on the way. */
export const MAX_PREVIEWS = 20;

const NAME = { type: 'string', minLength: 1, maxLength: 200 } as const;
const RESPACING = Type.Optional(Type.Boolean());

/** What a scheduler may be told besides the model's config, in diffusers' names. */
const schedulerOptions = Type.Object({
  use_karras_sigmas: RESPACING, use_exponential_sigmas: RESPACING, use_beta_sigmas: RESPACING,
  algorithm_type: Type.Optional(Type.Enum(['dpmsolver++', 'sde-dpmsolver++'])),
  solver_type: Type.Optional(Type.Enum(['midpoint', 'heun'])),
  solver_order: Type.Optional(Type.Integer({ minimum: 1, maximum: 3 })),
  timestep_spacing: Type.Optional(Type.Enum(['leading', 'linspace', 'trailing'])),
}, { additionalProperties: false, description: 'where to put the steps, and how to solve them' });

/** A request for pictures: what every dialect's becomes. Its schema is what the OpenAPI document shows, and what checks it. */
export function pictureRequestSchema({ limits, schedulers }: RequestRules) {
  const side = (name: string) =>
    Type.Integer({ minimum: 8, maximum: 16384, description: `${name} in pixels, a multiple of 8; by default the model's` });
  const picture = (description: string) => Type.String({ description, maxLength: limits.maxBodyBytes });
  const scheduler = { type: 'string', enum: [...schedulers], description: 'a scheduler\'s class; by default the model\'s own' } as const;
  return Type.Object({
    prompt: Type.String({ maxLength: 4000, description: 'what to show' }),
    negativePrompt: Type.Optional(Type.String({ maxLength: 4000, description: 'what not to show' })),
    promptWeights: Type.Optional(Type.Boolean({
      description: 'whether (word:1.3) in the prompts is a weight, and long ones count to their end; false by default',
    })),
    model: Type.Optional(Type.Unsafe<string>({ ...NAME, description: 'one of the models of /v1/models; the first by default' })),
    width: Type.Optional(side('width')),
    height: Type.Optional(side('height')),
    steps: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.maxSteps, description: "denoising steps; by default the pipeline's" })),
    guidanceScale: Type.Optional(Type.Number({ minimum: 0, maximum: 100, description: 'how closely to follow the prompt' })),
    ...GUIDANCE,
    scheduler: Type.Optional(Type.Unsafe<string>(scheduler)),
    schedulerOptions: Type.Optional(schedulerOptions),
    clipSkip: Type.Optional(Type.Integer({ minimum: 0, maximum: 10, description: 'layers of the text encoder to leave out' })),
    seed: Type.Optional(Type.Integer({
      minimum: 0, maximum: Number.MAX_SAFE_INTEGER - limits.maxPictures, description: 'picture i has seed + i; drawn by default',
    })),
    count: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.maxPictures, description: 'how many pictures; 1 by default' })),
    image: Type.Optional(picture('a picture to begin from: a file\'s bytes in base64')),
    mask: Type.Optional(picture('white where image is to change: a file\'s bytes in base64')),
    paddingMaskCrop: Type.Optional(Type.Integer({
      minimum: 0, maximum: 16384, description: 'draws the mask\'s part and so many pixels around it alone, at width x height',
    })),
    strength: Type.Optional(Type.Number({ minimum: 0, maximum: 1, description: 'how much of image to give up' })),
    loras: Type.Optional(Type.Array(
      Type.Object({
        name: Type.Unsafe<string>({ ...NAME, description: 'a LoRA that the server has' }),
        scale: Type.Optional(Type.Number({ minimum: -10, maximum: 10 })),
      }, { additionalProperties: false }),
      { maxItems: 8 },
    )),
    previews: Type.Optional(Type.Integer({
      minimum: 0, maximum: MAX_PREVIEWS, description: 'how many quick looks at the first picture there are on the way; none by default',
    })),
    priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 10, description: 'those of a higher one come first; 0 by default' })),
    delay: Type.Optional(Type.Integer({ minimum: 0, maximum: 86400, description: 'seconds before it takes its place in the queue' })),
  }, { additionalProperties: false, $id: 'PictureRequest' });
}

export type PictureRequest = Static<ReturnType<typeof pictureRequestSchema>>;

/** One that was checked: what it left open is said, so that the same request gives the same pictures if it has to be drawn again. */
export type AcceptedRequest = PictureRequest & Required<Pick<PictureRequest, 'model' | 'seed' | 'count'>>;

/**
 * Checks what a dialect made of its own request. An error names the field; what a field got is left out where it may be long.
 * @throws RequestError
 */
export function requestChecker(rules: RequestRules): (request: unknown, offer: Offer) => AcceptedRequest {
  const described = pictureRequestSchema(rules);
  const schema = Compile(described);
  return (given, offer) => {
    const request = dropUndefined(checkObject(given));
    const stranger = Object.keys(request).find(name => !Object.hasOwn(described.properties, name));
    if (stranger !== undefined) throw new RequestError(`there is no field ${quote(stranger)}`);
    const [error] = schema.Errors(request);
    if (error) {
      const told = error.keyword === 'enum' ? `takes ${error.params.allowedValues.join(', ')}` : error.message;
      throw new RequestError(`${error.instancePath.slice(1).replaceAll('/', '.') || 'the request'}: ${told}`);
    }
    const checked = request as PictureRequest;
    const { model = offer.models.at(0), seed = randomInt(2 ** 32), count = 1 } = checked;
    if (model === undefined) throw new RequestError('no machine with a model is there at the moment', 503);
    checkName('model', model, offer.models);
    for (const { name } of checked.loras ?? []) checkName('loras', name, offer.loras);
    checkSize(checked, rules.limits);
    checkGuidance(checked);
    if ((checked.mask || checked.strength !== undefined) && !checked.image) {
      throw new RequestError(`${checked.mask ? 'mask' : 'strength'}: takes an image too`);
    }
    if (checked.paddingMaskCrop !== undefined && !checked.mask) throw new RequestError('paddingMaskCrop: takes a mask too');
    return { ...checked, model, seed, count };
  };
}

/** @throws RequestError for more pixels than may be drawn, and for sides that latents do not fill. */
export function checkSize({ width = 0, height = 0 }: Pick<PictureRequest, 'width' | 'height'>, { maxPixels }: ServerLimits): void {
  if (width * height > maxPixels) throw new RequestError(`width, height: got ${width} x ${height}, takes up to ${maxPixels} pixels`);
  for (const [side, pixels] of Object.entries({ width, height })) {
    if (pixels % 8 !== 0) throw new RequestError(`${side}: got ${pixels}, takes a multiple of 8`);
  }
}

/** @throws RequestError for a name that the operator did not give. */
export function checkName(field: string, name: string, known: readonly string[]): void {
  if (known.includes(name)) return;
  throw new RequestError(`${field}: there is none called ${quote(name)}; takes ${known.join(', ') || 'none at all'}`);
}

/** A picture's file, which a request has in base64, alone or as a data: address. */
export function pictureBytes(base64: string): Buffer {
  return Buffer.from(base64.trim().replace(/^data:[^,]{0,100},/, ''), 'base64');
}

/** What a client sent, in a message: cut, and without control characters. */
export function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}

/** A body that has fields. @throws RequestError */
export function checkObject(body: unknown): Readonly<Record<string, unknown>> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new RequestError('the request: takes a JSON object');
  return body as Record<string, unknown>;
}

function dropUndefined(given: object): object {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined && value !== null));
}
