/** A file on the hub. */
export interface HubPlace {
  readonly id: string;
  readonly revision: string;
  readonly path: string;
}

/**
 * What an address names, as in 'https://huggingface.co/owner/name/blob/main/model.safetensors'; undefined if it is none of a file on the
 * hub.
 * @param endpoint another address of the hub.
 */
export function parseHubAddress(address: string, endpoint?: string): HubPlace | undefined {
  const hub = [endpoint, 'https://huggingface.co', 'https://hf.co'].find(each => each && address.startsWith(`${each}/`));
  const match = hub && /^\/([^/]+\/[^/]+)\/(?:blob|resolve)\/([^/]+)\/([^?#]+)/.exec(address.slice(hub.length));
  if (!match) return undefined;
  try {
    const [id, revision, path] = match.slice(1).map(decodeURIComponent);
    return { id, revision, path };
  } catch { // a % that stands for nothing
    return undefined;
  }
}
