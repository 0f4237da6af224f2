import { checkInteger } from '../core/checks.js';

const MAX_SENTINELS = 10_000;

/**
 * A config with the tokens that stand for what was cut out of texts in training, `<extra_id_0>` and on, among its special ones: as many as
 * `extra_ids` says, 100 where it says nothing, unless the files name them.
 * @throws RangeError for more than a tokenizer has.
 */
export function withSentinels(
  config: Readonly<Record<string, unknown>>, specialTokensMap: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const { extra_ids: count = 100 } = config;
  checkInteger('tokenizer_config.json: extra_ids', count as number, 0, MAX_SENTINELS);
  const names = ['additional_special_tokens', 'extra_special_tokens'];
  const isNamed = names.some(name => JSON.stringify([config[name], specialTokensMap[name]]).includes('<extra_id_'));
  if (isNamed) return config;
  const sentinels = Array.from({ length: count as number }, (_, i) => `<extra_id_${i}>`);
  const given = names.map(name => config[name]).find(Array.isArray) ?? [];
  return { ...config, additional_special_tokens: [...given as unknown[], ...sentinels], extra_special_tokens: undefined };
}
