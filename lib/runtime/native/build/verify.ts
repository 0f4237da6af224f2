import { fileURLToPath } from 'node:url';
import { runTool, ToolError } from '../../../core/run_tool.js';
import type { NativeKind } from '../build_folder.js';
import { errorLine } from './setup_error.js';

export interface Verdict {
  /** Whether TensorFlow takes a GPU. */
  readonly gpu: boolean;
  /** Why it takes none, of a GPU build. */
  readonly noGpu?: string;
}

/**
 * Loads a build in a process of its own, which a bad one can crash, and computes with it. Of a GPU build it opens all that a GPU takes.
 * @throws Error saying in one line why it does not work.
 */
export async function verifyBuild(folder: string, kind: NativeKind): Promise<Verdict> {
  const probe = fileURLToPath(new URL('../probe.js', import.meta.url));
  let answer: Verdict & { error?: string };
  try {
    answer = JSON.parse(await runTool(process.execPath, [probe, folder, kind])) as typeof answer;
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    throw new Error(explainCrash(error), { cause: error });
  }
  if (answer.error !== undefined) throw new Error(answer.error);
  return answer;
}

function explainCrash({ how, output }: ToolError): string {
  if (how.includes('SIGILL')) return 'TensorFlow needs a processor with AVX';
  const [, library] = /opening (\S+)\s*$/.exec(output) ?? [];
  return library ? `TensorFlow cannot open ${library}: it is damaged, or one that it needs (the process ${how})` : errorLine(output || how);
}
