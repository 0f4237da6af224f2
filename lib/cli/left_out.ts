/** Parts of a model that are not loaded, as `fromPretrained` takes it: T5 with `--no-t5`. */
export function leftOut({ t5 = true }: { t5?: boolean }): { textEncoder3?: null; tokenizer3?: null } {
  return t5 ? {} : { textEncoder3: null, tokenizer3: null };
}
