import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageFolder } from '../../../core/package.js';
import { runTool } from '../../../core/run_tool.js';
import { BINDING_PACKAGE } from '../build_folder.js';
import { LIBRARIES } from './download.js';

/** Compiles the addons into `target/lib`. By Node-API alone, so one binary serves every Node. `sizes.json` tells what a whole `lib` is. */
export async function compileBinding(compiler: string, stage: string, target: string): Promise<void> {
  const binding = join(target, 'node_modules', BINDING_PACKAGE);
  const lib = join(target, 'lib');
  const source = (name: string) => join(packageFolder(), 'lib', 'runtime', 'native', 'addon', name);
  const flags = ['-std=c++17', '-O2', '-fPIC', '-shared', '-pthread', '-fno-access-control', '-DNAPI_VERSION=8', '-Wl,-rpath,$ORIGIN',
    `-I${join(target, 'node_modules', 'node-api-headers', 'include')}`, `-I${join(stage, 'tensorflow', 'include')}`, `-I${binding}`];
  const libraries = [`-L${lib}`, ...LIBRARIES.map(library => `-l:${library}`), '-ldl'];
  await runTool(compiler, [...flags, source('binding.cc'), ...libraries, '-o', join(lib, 'tfjs_binding.node')]);
  await runTool(compiler, [...flags, `-DLIBRARY="${LIBRARIES[0]}"`, source('quiet.cc'), '-ldl', '-o', join(lib, 'quiet.node')]);
  const sizes = await Promise.all((await readdir(lib)).map(async file => [file, (await stat(join(lib, file))).size]));
  await writeFile(join(target, 'sizes.json'), JSON.stringify(Object.fromEntries(sizes)));
}
