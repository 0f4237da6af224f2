import { fileURLToPath } from 'node:url';
import { errorLine } from './setup_error.js';
import { runTool, ToolError } from './tools.js';

/**
 * Loads a build in a process of its own, which a bad one can crash, and computes with it.
 * @throws Error saying in one line why it does not work.
 */
export async function verifyBuild(folder: string): Promise<{ gpu: boolean }> {
  const probe = fileURLToPath(new URL('./probe.js', import.meta.url));
  try {
    return JSON.parse(await runTool(process.execPath, [probe, folder])) as { gpu: boolean };
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    throw new Error(error.how.includes('SIGILL') ? 'TensorFlow needs a processor with AVX' : errorLine(error.output || error.how), { cause: error });
  }
}
