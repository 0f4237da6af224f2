import type { Browser, PageFacts } from './report.js';

/** As much of `navigator` as tells what a browser is. */
export interface Navigator {
  userAgent: string;
  userAgentData?: { brands: Array<{ brand: string; version: string }>; mobile: boolean; platform: string };
  maxTouchPoints?: number;
}

/** Names in user agents, the most special first: most browsers call themselves Chrome and Safari besides. */
const NAMES: ReadonlyArray<[name: string, pattern: RegExp]> = [
  ['Edge', /Edg(?:A|iOS)?\/([\d.]+)/], ['Opera', /OPR\/([\d.]+)/], ['Samsung Internet', /SamsungBrowser\/([\d.]+)/],
  ['Firefox', /(?:Firefox|FxiOS)\/([\d.]+)/], ['Chrome', /(?:Chrome|HeadlessChrome|CriOS)\/([\d.]+)/], ['Safari', /Version\/([\d.]+).*Safari/],
];
const SYSTEMS: ReadonlyArray<[name: string, pattern: RegExp]> = [
  ['Android', /Android/], ['iOS', /iPhone|iPad/], ['Windows', /Windows/], ['macOS', /Mac OS X/], ['ChromeOS', /CrOS/], ['Linux', /Linux/],
];

/** Which browser it is, as far as it says. */
export function describeBrowser({ userAgent, userAgentData, maxTouchPoints = 0 }: Navigator): Browser {
  const [name, version] = NAMES.flatMap(([name, pattern]) => {
    const found = pattern.exec(userAgent);
    return found ? [[name, found[1]] as const] : [];
  })[0] ?? ['unknown', ''];
  let system = userAgentData?.platform || SYSTEMS.find(([, pattern]) => pattern.test(userAgent))?.[0] || 'unknown';
  if (system === 'macOS' && maxTouchPoints > 1) system = 'iOS'; // an iPad calls itself a Mac
  const mobile = userAgentData?.mobile ?? (system === 'iOS' || /Mobile|Android/.test(userAgent));
  return { name, version, system, mobile, userAgent };
}

export function describePage(): PageFacts {
  const { hardwareConcurrency: cores, deviceMemory } = navigator as typeof navigator & { deviceMemory?: number };
  return { crossOriginIsolated, secure: isSecureContext, cores, ...deviceMemory && { memoryGiB: deviceMemory } };
}
