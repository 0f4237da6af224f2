import { addTexts } from '../../../lib/image/png_text.js';
import type { ModelDescription } from '../../../lib/pipelines/describe_model.js';
import { samplers } from '../../../lib/schedulers/common_names.js';
import { hasWeights, SETTINGS_KEYWORD, type ModelInfo, type ModelSource, type Reply, type Request, type Settings, type Start } from '../protocol.js';
import type { ModelHost } from './model_host.js';
import { ServerClient, ServerError } from './server_client.js';
import { ServerJob, type JobReport } from './server_job.js';

/** How often to ask for the place in the queue, in milliseconds: of others' jobs no event tells. */
const ASK_AGAIN = 2000;
/** Looks at a picture on its way, at most; the server gives no more. */
const MOST_PREVIEWS = 20;
/** The server takes sizes that are multiples of this. */
const SIZE_STEP = 8;

/** What is offered of a model that the server has not loaded yet: what is usual. */
const UNKNOWN: ModelDescription = {
  numParameters: 0, width: 512, height: 512, sideFactor: SIZE_STEP, numInferenceSteps: 50, guidanceScale: 7.5, takesNegativePrompt: true,
  takesPerturbedAttention: true, takesSkippedLayers: false, tasks: ['text', 'image', 'mask'],
  schedulers: [...new Set(samplers.map(({ scheduler }) => scheduler))].map(name => ({ name, takes: ['use_karras_sigmas', 'timestep_spacing'] })),
};

/** A model on a server of ours (`tfjs-diffusers serve`): pictures are its jobs. */
export class ServerHost implements ModelHost {
  private server?: { client: ServerClient; model: string };
  private work?: { id?: string; readonly ending: AbortController };
  /** What is drawn for a page that is left would be for nobody. */
  private readonly onLeave = () => void this.cancel();

  constructor(private readonly take: (reply: Reply) => void) {
    addEventListener('pagehide', this.onLeave);
  }

  send(request: Request): void {
    switch (request.type) {
      case 'load':
        return void this.load(request.source as Extract<ModelSource, { kind: 'server' }>, request.key).catch((error: ServerError) => {
          this.take({ type: 'failed', message: error.message, about: error.about ?? 'model' });
        });
      case 'generate':
        return void this.generate(request.settings, request.start);
      case 'adapt':
        return this.take({ type: 'refused', kind: request.kind, name: request.name, message: 'a server takes no files' });
      case 'cancel':
        return void this.cancel();
    }
  }

  close(): void {
    removeEventListener('pagehide', this.onLeave);
    this.server?.client.close();
  }

  private async load({ url, model: wanted }: Extract<ModelSource, { kind: 'server' }>, key?: string): Promise<void> {
    const client = new ServerClient(url, key);
    const { data = [] } = await client.json<{ data?: Array<{ id: string }> }>('/v1/models');
    const models = data.map(({ id }) => id);
    const model = wanted ?? models.at(0);
    if (model === undefined) throw new ServerError(`${client.host} has no model at the moment`);
    this.server = { client, model };
    this.take({ type: 'models', models });
    const { description = UNKNOWN, loras = [] } = await client.json<{ description?: ModelDescription; loras?: string[] }>(`/v1/models/${encodeURIComponent(model)}`);
    const info: ModelInfo = { ...description, sideFactor: Math.max(SIZE_STEP, description.sideFactor), name: model, takes: [], loras };
    this.take({ type: 'loaded', model: info });
  }

  private async generate(given: Settings, start?: Start): Promise<void> {
    const { client, model } = this.server!;
    const work: NonNullable<ServerHost['work']> = this.work = { ending: new AbortController() };
    const { signal } = work.ending;
    const job = new ServerJob(client, reply => this.take(reply));
    let timer;
    try {
      const settings = { ...given, variation: undefined, deepCache: undefined, tokenMerging: undefined, controlScale: undefined, styleScale: undefined };
      const { id } = await client.json<JobReport>('/jobs', { method: 'POST', body: JSON.stringify(await toRequest(model, settings, start)) });
      work.id = id;
      if (signal.aborted) void this.cancel();
      timer = setInterval(() => { if (job.waits) void client.json<JobReport>(`/jobs/${id}`).then(now => { if (job.waits) job.tell(now); }, () => {}); }, ASK_AGAIN);
      for await (const now of client.events<JobReport>(`/jobs/${id}/events`, signal)) {
        job.tell(now);
        if (now.state === 'cancelled') throw new ServerError(`${client.host}: the picture was cancelled there`);
        if (now.state === 'failed') throw new ServerError(`${client.host}: ${now.error}`);
        if (now.state !== 'done') continue;
        const made = new Uint8Array(await (await client.ask(now.pictures[0].url)).arrayBuffer());
        const png = addTexts(made, { [SETTINGS_KEYWORD]: JSON.stringify(settings) }) as Uint8Array<ArrayBuffer>;
        return this.take({ type: 'done', result: { png, settings, model, device: client.host, ...job.times } });
      }
      throw new ServerError(`${client.host} is gone`);
    } catch (error) {
      this.take(signal.aborted ? { type: 'cancelled' } : { type: 'failed', message: (error as Error).message });
    } finally {
      clearInterval(timer);
      job.close();
      this.work = undefined;
    }
  }

  /** The page goes on at once. A job that has no id yet is ended when it has one. */
  private async cancel(): Promise<void> {
    if (!this.work) return;
    const { id, ending } = this.work;
    ending.abort();
    if (id !== undefined) await this.server!.client.ask(`/jobs/${id}`, { method: 'DELETE', keepalive: true }).catch(() => {}); // or it goes on for nobody
  }
}

/** What `POST /jobs` takes. */
async function toRequest(model: string, settings: Settings, start?: Start): Promise<object> {
  const { prompt, negativePrompt, numInferenceSteps: steps, guidanceScale, seed, scheduler, schedulerOptions, width, height, strength, loras = {} } = settings;
  return {
    model, prompt, negativePrompt: negativePrompt || undefined, promptWeights: hasWeights(settings), steps, guidanceScale, seed, scheduler, schedulerOptions, width, height,
    previews: Math.min(MOST_PREVIEWS, steps - 1), loras: Object.entries(loras).map(([name, scale]) => ({ name, scale })),
    ...start && { image: await toDataUrl(start.image), mask: start.mask && await toDataUrl(start.mask), strength },
  };
}

function toDataUrl(file: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error!);
    reader.readAsDataURL(file);
  });
}
