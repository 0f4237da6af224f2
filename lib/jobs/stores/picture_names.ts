/** What lies in a store is called by a job's id and what it is of that job: never by anything that a client said. */

/** Below which lie pictures that requests begin from, until they are drawn. */
const WAITING = 'waiting';
/** For how long: a request can wait a day before it takes its place in the queue. */
const WAITING_SECONDS = 2 * 24 * 3600;

const ID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const A_NAME = new RegExp(`^(${WAITING}/)?${ID}/[a-z0-9-]{1,40}(?:\\.[a-z0-9-]{1,40}){0,3}$`);
const AN_ID = new RegExp(`^${ID}$`);

export function pictureName(id: string, index: number): string {
  return `${id}/${index}.png`;
}

export function previewName(id: string, index: number): string {
  return `${id}/preview-${index}.png`;
}

/** Of a picture that a request begins from. */
export function waitingName(id: string, field: 'image' | 'mask'): string {
  return `${WAITING}/${id}/${field}`;
}

/** Whether it can be a job's: a UUID. */
export function isJobId(id: unknown): id is string {
  return typeof id === 'string' && AN_ID.test(id);
}

/** Whether a store gave something this name: what others put beside it is not the store's to remove. */
function isStoreName(name: string): boolean {
  return A_NAME.test(name);
}

/** @throws Error for a name that no store gives. */
export function checkStoreName(name: string): string {
  if (!isStoreName(name)) throw new Error(`the store: has no names like ${JSON.stringify(name.slice(0, 100))}`);
  return name;
}

/** Whether what was written at that time is to be removed. @param written milliseconds since 1970. @param keepSeconds for pictures. */
export function isOver(name: string, written: number, keepSeconds: number): boolean {
  const seconds = name.startsWith(`${WAITING}/`) ? Math.max(keepSeconds, WAITING_SECONDS) : keepSeconds;
  return isStoreName(name) && written + seconds * 1000 < Date.now();
}
