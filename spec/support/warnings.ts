/** What `work` says by console.warn, which stays silent meanwhile. */
export async function captureWarnings(work: () => unknown): Promise<string[]> {
  const { warn } = console;
  const warnings: string[] = [];
  console.warn = (message: unknown) => { warnings.push(String(message)); };
  try {
    await work();
    return warnings;
  } finally {
    console.warn = warn;
  }
}
