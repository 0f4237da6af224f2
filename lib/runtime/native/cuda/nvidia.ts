import { runTool } from '../../../core/run_tool.js';

/** A GPU, as far as its driver's tool tells. */
export interface Gpu {
  /** As the driver calls it. */
  readonly name: string;
  /** The driver's version. */
  readonly driver?: string;
  /** Memory in MiB. */
  readonly memory?: number;
  /** As in '9.0'. */
  readonly computeCapability?: string;
  /** By which CUDA_VISIBLE_DEVICES can name it. */
  readonly uuid?: string;
}

let gpus: Promise<Gpu[]> | undefined;

/** This machine's NVIDIA GPUs, by nvidia-smi; asked once per process. */
export function nvidiaGpus(): Promise<Gpu[]> {
  const fields = 'name,driver_version,memory.total,compute_cap,uuid'; // old drivers do not know all of these
  gpus ??= query(fields).catch(() => query('name')).catch(() => []);
  return gpus;
}

async function query(fields: string): Promise<Gpu[]> {
  const text = await runTool('nvidia-smi', [`--query-gpu=${fields}`, '--format=csv,noheader,nounits']);
  const known = (field: string) => /^\[|^$/.test(field) ? undefined : field; // unknown: [N/A]
  return text.split('\n').map(line => line.trim()).filter(line => line !== '').map(line => {
    const [name, driver, memory, computeCapability, uuid] = line.split(',').map(field => known(field.trim()));
    return { name: name ?? 'NVIDIA GPU', driver, memory: Number(memory) || undefined, computeCapability, uuid };
  });
}

/**
 * Which of several GPUs is used, and what CUDA_VISIBLE_DEVICES must say while TensorFlow is loaded, that it sees this one alone: of two it
 * would run ops on the first, but take the last for what it is handed. It is the first that the variable names already or, where nobody set
 * it, of the newest the one with the most memory.
 * @param visible what CUDA_VISIBLE_DEVICES says.
 */
export function chooseGpu(gpus: readonly Gpu[], visible: string | undefined): { gpu?: Gpu; visible?: string } {
  if (visible !== undefined) {
    const [first] = visible.split(',').map(each => each.trim());
    // A number, as nvidia-smi counts; CUDA counts otherwise only where GPUs are of several kinds and CUDA_DEVICE_ORDER is not PCI_BUS_ID.
    const gpu = /^\d+$/.test(first) ? gpus[Number(first)] : gpus.find(({ uuid }) => first !== '' && uuid?.startsWith(first));
    return { gpu, visible: first };
  }
  const [gpu] = [...gpus].sort((a, b) =>
    Number(b.computeCapability ?? 0) - Number(a.computeCapability ?? 0) || (b.memory ?? 0) - (a.memory ?? 0));
  return { gpu, visible: gpus.length > 1 ? gpu.uuid ?? `${gpus.indexOf(gpu)}` : undefined };
}

/** What is wrong with the driver for a version of CUDA; null if it will do, or does not tell its version. */
export function driverTrouble(gpus: readonly Gpu[], cuda: 12 | 13): string | null {
  const needed = { 12: 525, 13: 580 }[cuda];
  const old = gpus.find(({ driver }) => driver !== undefined && Number.parseInt(driver, 10) < needed);
  return old ? `the driver is ${old.driver}, and CUDA ${cuda} needs ${needed} or newer` : null;
}

/** As in 'NVIDIA H100 80GB HBM3 (80 GiB, compute capability 9.0, driver 580.65.06)'. */
export function describeGpu({ name, driver, memory, computeCapability }: Gpu): string {
  const facts = [
    memory && `${Math.round(memory / 1024)} GiB`,
    computeCapability && `compute capability ${computeCapability}`,
    driver && `driver ${driver}`,
  ];
  const known = facts.filter(Boolean).join(', ');
  return known ? `${name} (${known})` : name;
}
