import type { Options } from './options.js';
import { ratio, type CaseResult, type SideResult } from './report.js';

interface Aim {
  name: string;
  ours: string;
  theirs: string;
  what: 'time' | 'GPU memory';
  /** The most that ours should take of theirs. */
  atMost: number;
}

/** What this library aims at on a GPU: in float16, pictures of 512x512. */
const AIMS: Aim[] = [
  { name: 'unet', ours: 'compiled', theirs: 'eager', what: 'time', atMost: 0.55 },
  { name: 'unet', ours: 'compiled', theirs: 'compile', what: 'time', atMost: 1 },
  { name: 'unet', ours: 'eager', theirs: 'eager', what: 'time', atMost: 2 },
  { name: 'generate-sd15', ours: 'compiled', theirs: 'eager', what: 'time', atMost: 0.65 },
  { name: 'generate-sd15', ours: 'compiled', theirs: 'eager', what: 'GPU memory', atMost: 1.3 },
];

/** A line for each aim of a case whose two sides were measured: how far it is. */
export function aims({ name, dtype, sides }: CaseResult, { device, size }: Options): string[] {
  if (device !== 'cuda' || size !== 'sd15' || dtype !== 'float16') return [];
  return AIMS.filter(aim => aim.name === name).flatMap(({ ours, theirs, what, atMost }) => {
    const our = sides.find(side => side.name === `tfjs-diffusers ${ours}`);
    const their = sides.find(side => side.name === `diffusers ${theirs}`);
    const reached = our && their && (what === 'time' ? ratio(our, their) : memoryRatio(our, their));
    return reached === undefined ? [] : [`Aim: ${what} ${ours} at most ${atMost} of diffusers ${theirs}; it is ${reached.toFixed(2)}.`];
  });
}

function memoryRatio(our: SideResult, their: SideResult): number | undefined {
  return our.gpuMemory && their.gpuMemory ? our.gpuMemory / their.gpuMemory : undefined;
}
