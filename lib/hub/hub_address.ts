/** A file on the hub. */
export interface HubPlace {
  readonly id: string;
  readonly revision: string;
  readonly path: string;
}

/** The hub, where nothing else is said. */
export const HUB = 'https://huggingface.co';

/** The address of the hub: what an option says, or the environment where there is one. */
export function hubEndpoint(endpoint?: string): string {
  return endpoint ?? (globalThis.process?.env?.HF_ENDPOINT || HUB);
}

/**
 * What an address names, as in 'https://huggingface.co/owner/name/blob/main/model.safetensors'; undefined if it is none of a file on the
 * hub.
 * @param endpoint another address of the hub; the environment's by default.
 */
export function parseHubAddress(address: string, endpoint?: string): HubPlace | undefined {
  const hubs = [String(hubEndpoint(endpoint)).replace(/\/+$/, ''), HUB, 'https://hf.co'];
  const hub = hubs.find(each => address.startsWith(`${each}/`));
  const match = hub && /^\/([^/]+\/[^/]+)\/(?:blob|resolve)\/([^/]+)\/([^?#]+)/.exec(address.slice(hub.length));
  if (!match) return undefined;
  try {
    const [id, revision, path] = match.slice(1).map(decodeURIComponent);
    return { id, revision, path };
  } catch { // a % that stands for nothing
    return undefined;
  }
}
