import * as tf from '@tensorflow/tfjs';

/**
 * Starts tfjs's wasm backend. In a page that may have threads, their workers run the text of a function of the bundle, which some minifiers
 * make depend on what is around it there; a page's policy can forbid such workers too. tfjs would wait for them for ever: then the backend
 * starts on one thread, with a warning.
 * @throws Error if it does not start.
 */
export async function startWasm(): Promise<void> {
  const failure = await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT') ? await startWithThreads() : undefined;
  if (failure !== undefined) {
    const help = 'if a minifier did that, docs/your_own_page.md has the setting';
    console.warn(`wasm: runs on one thread, because its threads do not start: ${failure}; ${help}`);
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  }
  if (await tf.setBackend('wasm')) return;
  throw new Error('does not start: the console says why; where its .wasm files lie, setWasmPaths of @tensorflow/tfjs-backend-wasm says');
}

/** @returns why its threads do not start, if so. */
async function startWithThreads(): Promise<string | undefined> {
  let listen: (event: ErrorEvent) => void;
  const failure = new Promise<string>(resolve => {
    listen = event => { // a worker's error comes twice: by itself, and thrown again by tfjs
      const again = event.error instanceof Event;
      if (again || event.filename.startsWith('blob:')) event.preventDefault(); // it is no error of the page
      if (again) resolve((event.error as ErrorEvent).message ?? 'the page may not run their script');
    };
    addEventListener('error', listen);
  });
  const started = tf.setBackend('wasm').then(() => {
    removeEventListener('error', listen);
    return undefined;
  });
  return Promise.race([started, failure]);
}
