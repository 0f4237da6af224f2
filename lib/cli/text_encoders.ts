/** Where text encoders are that do not come with a model: `--text-encoder` and the like. */
export interface TextEncoderOptions {
  textEncoder?: string;
  textEncoder2?: string;
  textEncoder3?: string;
  tokenizer3?: string;
}

/** Those that are given, as `fromPretrained` and `convertModel` take them. */
export function textEncodersOf({ textEncoder, textEncoder2, textEncoder3, tokenizer3 }: TextEncoderOptions): TextEncoderOptions {
  const given = Object.entries({ textEncoder, textEncoder2, textEncoder3, tokenizer3 }).filter(([, source]) => source !== undefined);
  return Object.fromEntries(given);
}
