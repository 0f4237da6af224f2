/** How our side runs: op by op or as graphs, in which numbers. */
export const OURS = ['eager', 'compiled', 'bfloat16', 'bfloat16-compiled', 'float16', 'float16-compiled'] as const;

/** How diffusers runs: eager in torch's default layout or channels last, compiled, or channels last in bfloat16. */
export const THEIRS = ['default', 'channels_last', 'compile', 'bfloat16'] as const;

/** What the command line says. */
export interface Options {
  runs: number;
  device: string;
  ours: string;
  vsDiffusers?: readonly string[];
  python: string;
  models: string;
  cold?: boolean;
  json?: string;
  markdown?: string;
}
