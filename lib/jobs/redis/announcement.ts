import type { ModelDescription } from '../../pipelines/describe_model.js';
import type { RedisConnection } from './connection.js';

/** What a machine tells of itself. */
export interface WorkerDescription {
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  readonly device?: string;
  /** What it draws by, by the names that requests use; of `inMemory` at once. */
  readonly models: readonly string[];
  readonly loras: readonly string[];
  readonly inMemory: readonly string[];
  /** Of each model that it has loaded once, by name; absent of older workers. */
  readonly descriptions?: Readonly<Record<string, ModelDescription>>;
  readonly maxBatch: number;
  /** When it began, in milliseconds since 1970. */
  readonly since: number;
}

/** A machine that tells nothing for so long is gone, in milliseconds. */
const LIFETIME = 15_000;
const topicOf = (id: string) => `workers.${id}`;

/** Says who is there, again and again until it is closed. */
export class Announcement {
  private readonly timer: NodeJS.Timeout;

  private constructor(private readonly redis: RedisConnection, private readonly describe: () => WorkerDescription) {
    this.timer = setInterval(() => { if (redis.ready) void this.tell().catch(() => {}); }, LIFETIME / 3);
  }

  static async begin(redis: RedisConnection, describe: () => WorkerDescription): Promise<Announcement> {
    const announcement = new Announcement(redis, describe);
    await announcement.tell();
    return announcement;
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    if (!this.redis.ready) return; // it is forgotten by itself
    const topic = topicOf(this.describe().id);
    await this.redis.relay.deleteRetained(topic);
    await this.redis.relay.publish(topic, null);
  }

  private async tell(): Promise<void> {
    const description = this.describe();
    await this.redis.relay.publish(topicOf(description.id), description, { retain: LIFETIME });
  }
}

/** The machines that are there at this moment. */
export class Roster {
  private list: readonly WorkerDescription[] = [];
  private timer?: NodeJS.Timeout;

  private constructor(private readonly redis: RedisConnection) {}

  static async open(redis: RedisConnection): Promise<Roster> {
    const roster = new Roster(redis);
    await redis.relay.subscribe('workers.*', () => roster.refresh());
    await roster.refresh();
    roster.timer = setInterval(() => { if (redis.ready) void roster.refresh().catch(() => {}); }, LIFETIME / 3);
    return roster;
  }

  /** Those that have been there longest come first. */
  get workers(): readonly WorkerDescription[] { return this.list; }
  get models(): readonly string[] { return [...new Set(this.list.flatMap(({ models }) => models))]; }
  get loras(): readonly string[] { return [...new Set(this.list.flatMap(({ loras }) => loras))]; }

  close(): void {
    clearInterval(this.timer);
  }

  private async refresh(): Promise<void> {
    const retained = await this.redis.relay.getRetained();
    const told = retained.filter(({ topic }) => topic.startsWith(topicOf(''))).map(({ data }) => JSON.parse(data) as WorkerDescription);
    this.list = told.sort((a, b) => a.since - b.since || a.id.localeCompare(b.id));
  }
}
