import { ToolError } from './tools.js';

/** Why the native backend could not be built, and what to do about it. WASM works all the same. */
export class SetupError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(`setup: ${message}`, options);
  }
}

/** Names the trouble behind what pip, npm or the compiler printed. */
export function explain(error: Error): SetupError {
  if (error instanceof SetupError) return error;
  const { output } = error instanceof ToolError ? error : { output: error.message };
  const is = (pattern: RegExp) => pattern.test(output);
  if (is(/ENOSPC|No space left/i)) {
    return new SetupError('the disk is full; make room, or set XDG_CACHE_HOME to a folder on a larger disk', { cause: error });
  }
  if (is(/Retrying \(|ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ProxyError|SSLError|HTTP error/)) {
    return new SetupError(`the package registry does not answer (${lastError(output)}); see the network and the settings of pip and npm`, { cause: error });
  }
  if (is(/No matching distribution/)) {
    return new SetupError(`pip finds no such package for this machine (${lastError(output)}); needs pip 20.3 and glibc 2.27 or newer`, { cause: error });
  }
  if (is(/DO NOT MATCH THE HASHES|EINTEGRITY|BadZipFile/)) {
    return new SetupError('a download came damaged; run setup again', { cause: error });
  }
  return new SetupError(`${error.message}${output === error.message ? '' : ` (${lastError(output)})`}`, { cause: error });
}

/** The line that says most: the last that speaks of an error, or simply the last. */
function lastError(output: string): string {
  const lines = output.split('\n').map(line => line.trim()).filter(line => line !== '');
  return (lines.findLast(line => /error/i.test(line)) ?? lines.at(-1) ?? 'no output').slice(0, 300);
}
