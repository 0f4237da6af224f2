import { runTool } from '../../../core/run_tool.js';

/** A GPU, as far as its driver's tool tells. */
export interface Gpu {
  readonly name: string;
  /** The driver's version. */
  readonly driver?: string;
  /** Memory in MiB. */
  readonly memory?: number;
  /** As in '9.0'. */
  readonly computeCapability?: string;
}

let gpus: Promise<Gpu[]> | undefined;

/** This machine's NVIDIA GPUs, by nvidia-smi; asked once per process. */
export function nvidiaGpus(): Promise<Gpu[]> {
  gpus ??= query('name,driver_version,memory.total,compute_cap').catch(() => query('name')).catch(() => []); // old drivers do not know all of these
  return gpus;
}

async function query(fields: string): Promise<Gpu[]> {
  const text = await runTool('nvidia-smi', [`--query-gpu=${fields}`, '--format=csv,noheader,nounits']);
  return text.split('\n').map(line => line.trim()).filter(line => line !== '').map(line => {
    const [name, driver, memory, computeCapability] = line.split(',').map(field => /^\[|^$/.test(field.trim()) ? undefined : field.trim()); // as in [N/A]
    return { name: name ?? 'NVIDIA GPU', driver, memory: Number(memory) || undefined, computeCapability };
  });
}

/** What is wrong with the driver for a version of CUDA; null if it will do, or does not tell its version. */
export function driverTrouble(gpus: readonly Gpu[], cuda: 12 | 13): string | null {
  const needed = { 12: 525, 13: 580 }[cuda];
  const old = gpus.find(({ driver }) => driver !== undefined && Number.parseInt(driver, 10) < needed);
  return old ? `the driver is ${old.driver}, and CUDA ${cuda} needs ${needed} or newer` : null;
}

/** As in 'NVIDIA H100 80GB HBM3 (80 GiB, compute capability 9.0, driver 580.65.06)'. */
export function describeGpu({ name, driver, memory, computeCapability }: Gpu): string {
  const facts = [memory && `${Math.round(memory / 1024)} GiB`, computeCapability && `compute capability ${computeCapability}`, driver && `driver ${driver}`];
  const known = facts.filter(Boolean).join(', ');
  return known ? `${name} (${known})` : name;
}
