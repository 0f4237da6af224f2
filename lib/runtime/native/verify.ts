import { fileURLToPath } from 'node:url';
import { SetupError } from './setup_error.js';
import { runTool, ToolError } from './tools.js';

/**
 * Loads a build in a process of its own and computes with it.
 * @throws SetupError if it does not work.
 */
export async function verifyBuild(folder: string): Promise<{ gpu: boolean }> {
  try {
    const probe = fileURLToPath(new URL('./probe.js', import.meta.url));
    return JSON.parse(await runTool(process.execPath, [probe, folder])) as { gpu: boolean };
  } catch (error) {
    const { message, output } = error as ToolError;
    const line = output?.split('\n').find(text => /error|cannot|not /i.test(text))?.trim();
    throw new SetupError(`the build in ${folder} does not work: ${line ?? message}`, { cause: error });
  }
}
