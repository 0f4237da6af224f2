/**
 * A package that is installed only where it is needed.
 * @param load imports it. @param wantedBy as in '--redis'. @param packages what npm is to install.
 * @throws Error of one line that says so, where it is not there.
 */
export async function optionalPackage<T>(load: () => Promise<T>, wantedBy: string, packages: string): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Error(`${wantedBy}: needs packages that are not installed; npm install ${packages}`, { cause: error });
  }
}
