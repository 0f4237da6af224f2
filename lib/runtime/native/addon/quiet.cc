/**
 * TensorFlow logs while it is being loaded, before any log level counts: this addon's `load` loads it (LIBRARY) with stderr closed.
 * Its `setEnvironment` sets a variable of the process, which TensorFlow reads: in a worker thread, `process.env` is a copy.
 * Its `configure` makes a context with a serialized ConfigProto. What that says of GPU memory holds for the process, also for the contexts that the
 * binding makes later without a config: TensorFlow has one allocator for each GPU, which its first user sets up.
 * Its `openLibrary` opens a library by the function, in libtensorflow_framework, with which TensorFlow opens CUDA's: in the same folders.
 * The result is null, or why it cannot be opened.
 */
#include <dlfcn.h>
#include <cstdlib>
#include <fcntl.h>
#include <node_api.h>
#include <unistd.h>
#include "tensorflow/c/eager/c_api.h"

static void* Library() {
  static void* library = [] {
    int saved = dup(2), null = open("/dev/null", O_WRONLY);
    dup2(null, 2);
    void* loaded = dlopen(LIBRARY, RTLD_LAZY);
    dup2(saved, 2);
    close(saved);
    close(null);
    return loaded;
  }();
  return library;
}

#define TENSORFLOW(name) reinterpret_cast<decltype(&name)>(dlsym(Library(), #name))

static napi_value Load(napi_env, napi_callback_info) {
  Library();
  return nullptr;
}

static napi_value SetEnvironment(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  char name[256] = "", value[4096] = "";
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  napi_get_value_string_utf8(env, arguments[0], name, sizeof name, nullptr);
  napi_get_value_string_utf8(env, arguments[1], value, sizeof value, nullptr);
  setenv(name, value, 1);
  return nullptr;
}

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
  const napi_property_descriptor properties[] = {
    {"load", nullptr, Load, nullptr, nullptr, nullptr, napi_default, nullptr},
    {"setEnvironment", nullptr, SetEnvironment, nullptr, nullptr, nullptr, napi_default, nullptr},
    {"configure", nullptr, Configure, nullptr, nullptr, nullptr, napi_default, nullptr},
    {"openLibrary", nullptr, OpenLibrary, nullptr, nullptr, nullptr, napi_default, nullptr},
  };
  napi_define_properties(env, exports, 4, properties);
  return exports;
}
