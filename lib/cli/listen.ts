import type { FastifyInstance, FastifyListenOptions } from 'fastify';

/** Comes back with the address. @param instead what is done first where that cannot be had: what runs would keep the process. */
export async function listen(server: FastifyInstance, where: FastifyListenOptions, instead: () => Promise<void>): Promise<string> {
  try {
    return await server.listen(where);
  } catch (error) {
    await instead();
    throw error;
  }
}
