import { ToolError } from '../../../core/run_tool.js';

/** Why the native backend could not be built, and what to do about it. WASM works all the same. */
export class SetupError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(`setup: ${message}`, options);
  }
}

const NO_ANSWER = new RegExp([
  'connection refused', 'name resolution', 'name or service not known', 'timed out', 'read timeout', 'unreachable',
  'certificate verify failed', 'ENOTFOUND', 'EAI_AGAIN', 'ECONN\\w+', 'ETIMEDOUT',
].join('|'), 'i');

/** Names the trouble behind what pip, npm or the compiler printed. */
export function explain(cause: Error): SetupError {
  if (cause instanceof SetupError) return cause;
  const output = cause instanceof ToolError ? cause.output : cause.message;
  const explained = (message: string) => new SetupError(message, { cause });
  if (/ENOSPC|No space left/i.test(output)) {
    return explained('the disk is full; make room, or set XDG_CACHE_HOME to a folder on a larger disk');
  }
  const [noAnswer] = NO_ANSWER.exec(output) ?? [];
  if (noAnswer) return explained(`the package registry does not answer (${noAnswer}); see the network and the settings of npm and pip`);
  if (/DO NOT MATCH THE HASHES|EINTEGRITY|BadZipFile/.test(output)) return explained('a download came damaged; run setup again');
  const missing = /No matching distribution found for (\S+)/.exec(output);
  if (missing) return explained(`pip finds no ${missing[1]} for this machine; needs pip 20.3 or newer and glibc 2.27 or newer`);
  if ('syscall' in cause) return explained(`${cause.message}; set XDG_CACHE_HOME to a folder that can be written`);
  return explained(cause instanceof ToolError ? `${cause.message} (${errorLine(output)})` : cause.message);
}

/** The line that says most: the first that speaks of an error, or else the last. */
export function errorLine(output: string): string {
  const lines = output.split('\n').map(line => line.trim()).filter(line => line !== '');
  return (lines.find(line => /error/i.test(line)) ?? lines.at(-1) ?? 'it printed nothing').slice(0, 300);
}
