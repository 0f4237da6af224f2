/** An error as OpenAI's clients read it. */
export function describeError(message: string, status: number): object {
  return { error: { message, type: status < 500 ? 'invalid_request_error' : 'server_error', code: null, param: null } };
}
