/** Milliseconds of the processor that `work` takes: unlike those of the clock they do not grow when other processes keep it busy. */
export function processorTime(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
