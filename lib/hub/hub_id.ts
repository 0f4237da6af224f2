/** Whether `text` could name a model on a hub: owner/name. */
export function isHubId(text: string): boolean {
  return /^\w([\w.-]{0,94}\w)?\/\w([\w.-]{0,94}\w)?$/.test(text) && !/--|\.\.|\.git$/.test(text);
}

/** Whether `text` is a commit in full. */
export function isCommit(text: unknown): text is string {
  return typeof text === 'string' && /^[0-9a-f]{40}$/.test(text);
}
