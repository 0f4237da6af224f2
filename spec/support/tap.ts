/** `target`, but for some of its members. */
export function tap<T extends object>(target: T, members: Partial<T>): T {
  return new Proxy(target, {
    get(_, key) {
      const value: unknown = key in members ? members[key as keyof T] : target[key as keyof T];
      return typeof value === 'function' && !(key in members) ? value.bind(target) as unknown : value;
    },
    has: (_, key) => key in target,
  });
}
