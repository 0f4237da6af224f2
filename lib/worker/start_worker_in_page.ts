/** What a page has instead of start_worker.ts: bundlers take this file by the `browser` field of package.json. */
export function startWorker(): never {
  throw new Error('createWorkerPipeline: needs Node; in a page, load the pipeline in a Worker of your own, see docs/your_own_page.md');
}
