/** A piece of a prompt, and how much attention it gets. */
export interface WeightedText {
  /** The text without brackets. */
  text: string;
  /** 1 is usual; more is more attention, less is less. */
  weight: number;
}

const EMPHASIS = 1.1;

/** An escaped bracket or backslash, a backslash alone, an opening bracket, a closing one, with a weight or without, or text between. */
const TOKEN = /\\([\\()[\]]?)|([([])|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|([)\]])|[^\\()[\]:]+|:/g;

/**
 * Reads the weights in a prompt, as widely written: `(word:1.3)` is 1.3 times as important, `(word)` 1.1 times, `[word]` 1 / 1.1 times.
 * Brackets may be nested. A bracket that is never closed lasts to the end; a closing bracket that was never opened is text. `\(` is a
 * bracket itself and `\\` a backslash; before anything else a backslash is dropped, `\:D` is `:D`, as by AUTOMATIC1111's web UI and the
 * community pipeline lpw_stable_diffusion of diffusers.
 */
export function parsePromptWeights(prompt: string): WeightedText[] {
  const pieces: WeightedText[] = [];
  const open: Array<{ bracket: string; from: number }> = [];
  const close = (at: number, factor: number) => {
    const [{ from }] = open.splice(at, 1);
    for (const piece of pieces.slice(from)) piece.weight *= factor;
  };
  for (const [whole, escaped, opening, weight, closing] of prompt.matchAll(TOKEN)) {
    const partner = closing === ']' ? '[' : '(';
    const at = open.findLastIndex(({ bracket }) => bracket === partner);
    if (opening) open.push({ bracket: opening, from: pieces.length });
    else if ((weight || closing) && at >= 0) close(at, weight ? Number(weight) : partner === '(' ? EMPHASIS : 1 / EMPHASIS);
    else if (escaped !== '') pieces.push({ text: escaped ?? whole, weight: 1 });
  }
  while (open.length) close(open.length - 1, open[open.length - 1].bracket === '(' ? EMPHASIS : 1 / EMPHASIS);
  return pieces.reduce<WeightedText[]>((joined, { text, weight }) => {
    const last = joined.at(-1);
    if (last?.weight === weight) last.text += text;
    else joined.push({ text, weight });
    return joined;
  }, []);
}
