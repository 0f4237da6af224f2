import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BINDING_PACKAGE } from './build_folder.js';
import { LIBRARIES } from './download.js';
import { runTool } from './tools.js';

/**
 * TensorFlow logs while it is being loaded, before any log level counts: this addon loads it with stderr closed.
 * Its `configure` makes a context with a serialized ConfigProto. What that says of GPU memory holds for the process, also for the contexts and
 * sessions that the binding makes later without a config: TensorFlow has one allocator for each GPU, which its first user sets up.
 * Its `openLibrary` opens a library by the function, in libtensorflow_framework, with which TensorFlow opens CUDA's: in the same folders.
 * The result is null, or why it cannot be opened.
 */
const QUIET = `#include <dlfcn.h>
#include <fcntl.h>
#include <node_api.h>
#include <unistd.h>
#include "tensorflow/c/eager/c_api.h"

static void* library;

#define TENSORFLOW(name) reinterpret_cast<decltype(&name)>(dlsym(library, #name))

static napi_value Configure(napi_env env, napi_callback_info info) {
  size_t count = 1, length = 0;
  napi_value argument;
  void* config = nullptr;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  napi_get_typedarray_info(env, argument, nullptr, &length, &config, nullptr, nullptr);
  TF_Status* status = TENSORFLOW(TF_NewStatus)();
  TFE_ContextOptions* options = TENSORFLOW(TFE_NewContextOptions)();
  TENSORFLOW(TFE_ContextOptionsSetConfig)(options, config, length, status);
  if (TENSORFLOW(TF_GetCode)(status) == TF_OK) TENSORFLOW(TFE_NewContext)(options, status);
  if (TENSORFLOW(TF_GetCode)(status) != TF_OK) napi_throw_error(env, nullptr, TENSORFLOW(TF_Message)(status));
  TENSORFLOW(TFE_DeleteContextOptions)(options);
  TENSORFLOW(TF_DeleteStatus)(status);
  return nullptr;
}

static napi_value OpenLibrary(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument, reason;
  char name[4096] = "";
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  napi_get_value_string_utf8(env, argument, name, sizeof name, nullptr);
  napi_get_null(env, &reason);
  TF_Status* status = TENSORFLOW(TF_NewStatus)();
  TENSORFLOW(TF_LoadLibrary)(name, status);
  if (TENSORFLOW(TF_GetCode)(status) != TF_OK) napi_create_string_utf8(env, TENSORFLOW(TF_Message)(status), NAPI_AUTO_LENGTH, &reason);
  TENSORFLOW(TF_DeleteStatus)(status);
  return reason;
}

NAPI_MODULE_INIT() {
  int saved = dup(2), null = open("/dev/null", O_WRONLY);
  dup2(null, 2);
  library = dlopen("${LIBRARIES[0]}", RTLD_LAZY);
  dup2(saved, 2);
  close(saved);
  close(null);
  const napi_property_descriptor properties[] = {
    {"configure", nullptr, Configure, nullptr, nullptr, nullptr, napi_default, nullptr},
    {"openLibrary", nullptr, OpenLibrary, nullptr, nullptr, nullptr, napi_default, nullptr},
  };
  napi_define_properties(env, exports, 2, properties);
  return exports;
}
`;

/** Compiles the addons into `target/lib`. They use Node-API alone, so one binary serves every Node. `sizes.json` tells what a whole `lib` is. */
export async function compileBinding(compiler: string, stage: string, target: string): Promise<void> {
  const binding = join(target, 'node_modules', BINDING_PACKAGE);
  const lib = join(target, 'lib');
  const quiet = join(stage, 'quiet.cc');
  await writeFile(quiet, QUIET);
  const flags = ['-std=c++17', '-O2', '-fPIC', '-shared', '-pthread', '-DNAPI_VERSION=8', '-Wl,-rpath,$ORIGIN',
    `-I${join(target, 'node_modules', 'node-api-headers', 'include')}`, `-I${join(stage, 'tensorflow', 'include')}`, `-I${binding}`];
  const sources = ['tfjs_backend.cc', 'tfjs_binding.cc'].map(file => join(binding, 'binding', file));
  await runTool(compiler, [...flags, ...sources, `-L${lib}`, ...LIBRARIES.map(library => `-l:${library}`), '-o', join(lib, 'tfjs_binding.node')]);
  await runTool(compiler, [...flags, quiet, '-ldl', '-o', join(lib, 'quiet.node')]);
  const sizes = await Promise.all((await readdir(lib)).map(async file => [file, (await stat(join(lib, file))).size]));
  await writeFile(join(target, 'sizes.json'), JSON.stringify(Object.fromEntries(sizes)));
}
