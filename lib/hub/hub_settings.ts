import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { show } from '../core/checks.js';
import type { DownloadProgress } from '../files/model_folder.js';
import { HUB, hubEndpoint } from './hub_address.js';

/** How and from where a model on a hub is loaded; the names are diffusers'. Options that are left out come from the environment. */
export interface HubOptions {
  /** A branch, tag or commit; 'main' by default. */
  revision?: string;
  /** Where downloads are kept; by default HF_HUB_CACHE, or `hub` in HF_HOME, which Python's huggingface_hub shares. */
  cacheDir?: string;
  /** Whether to take what was downloaded before, without any connection; also by HF_HUB_OFFLINE=1. */
  localFilesOnly?: boolean;
  /** An access token, for gated and private models; by default HF_TOKEN, or the one of `hf auth login`. False: none. */
  token?: string | false;
  /** The address of the hub; by default HF_ENDPOINT, or https://huggingface.co. */
  endpoint?: string;
  /** Called while files are fetched. */
  progressCallback?: (progress: DownloadProgress) => void;
  /** Ends fetching; what came so far is kept, and continued the next time. */
  signal?: AbortSignal;
}

export interface HubSettings {
  endpoint: string;
  token?: string;
  cacheDir: string;
  /** Whether to use the cache alone. */
  offline: boolean;
  /** Milliseconds of silence after which a request is given up. */
  timeout: number;
}

/**
 * What was asked for, then what the environment says, then Python's huggingface_hub's defaults, so that both share a cache and a login.
 * @throws TypeError or RangeError for options of a wrong kind.
 */
export async function readHubSettings({ endpoint, token, cacheDir, localFilesOnly }: HubOptions): Promise<HubSettings> {
  const { env } = process;
  const home = expandUser(env.HF_HOME || join(env.XDG_CACHE_HOME || '~/.cache', 'huggingface'));
  return {
    endpoint: checkEndpoint(hubEndpoint(endpoint)),
    token: checkToken(token ?? (env.HF_TOKEN || await readToken(expandUser(env.HF_TOKEN_PATH || join(home, 'token'))))),
    cacheDir: resolve(expandUser(cacheDir ?? (env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub')))),
    offline: localFilesOnly || isTrue(env.HF_HUB_OFFLINE),
    timeout: 1000 * (Number(env.HF_HUB_DOWNLOAD_TIMEOUT) || 10),
  };
}

function checkEndpoint(endpoint: string): string {
  if (!/^https?:/i.test(endpoint) || !URL.canParse(endpoint)) {
    throw new TypeError(`endpoint: got ${show(endpoint)}, takes the address of a hub, as in '${HUB}'`);
  }
  return endpoint.replace(/\/+$/, '');
}

/** The token, undefined for none; never shown, since it is secret. */
function checkToken(token: string | false | undefined): string | undefined {
  if (token && !/^[\x21-\x7e]+$/.test(token.trim())) {
    throw new TypeError('token: takes a hub\'s access token, without blanks, as in \'hf_...\'');
  }
  return token ? token.trim() : undefined;
}

async function readToken(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    return undefined; // nobody is logged in
  }
}

function isTrue(value = ''): boolean {
  return ['1', 'ON', 'YES', 'TRUE'].includes(value.toUpperCase());
}

function expandUser(path: string): string {
  return path.replace(/^~(?=$|[\\/])/, homedir());
}
