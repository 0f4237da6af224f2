/** Comes back when the process is told to end: Ctrl-C, or what a service manager sends. */
export async function untilSignal(): Promise<void> {
  await new Promise<void>(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  console.log('ending: what runs is finished');
}
