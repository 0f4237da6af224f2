/**
 * tfjs-node's binding as it is, and beside it, in its eager context: ops by numbers, a shorter way to run one, and functions: recorded networks, which
 * run by one call, or are compiled by XLA.
 * One translation unit, compiled with -fno-access-control: what is needed of the binding is static, or private to its class.
 */
#include <dlfcn.h>
#include <node_api.h>
#include <algorithm>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/eager/c_api.h"
#include "tensorflow/c/eager/c_api_experimental.h"

/** References to JavaScript's arrays whose tensors another thread was the last to use; only JavaScript's own may give them back. */
static std::mutex left_mutex;
static std::vector<std::pair<napi_env, napi_ref>> left_references;
/** Whose JavaScript runs on this thread. */
static thread_local napi_env here;

static napi_status DeleteReference(napi_env env, napi_ref reference) {
  if (env == here) return napi_delete_reference(env, reference);
  std::lock_guard<std::mutex> lock(left_mutex);
  left_references.emplace_back(env, reference);
  return napi_ok;
}

#define napi_delete_reference DeleteReference
#include "binding/tfjs_backend.cc"
#undef napi_delete_reference
#undef NAPI_MODULE
#define NAPI_MODULE(name, init)  // it becomes a part of ours
#include "binding/tfjs_binding.cc"

namespace tfnodejs {

static std::string ToText(napi_env env, napi_value value) {
  size_t length = 0;
  napi_get_value_string_utf8(env, value, nullptr, 0, &length);
  std::string text(length, '\0');
  napi_get_value_string_utf8(env, value, &text[0], length + 1, &length);
  return text;
}

/** The whole message, which the binding's own macro cuts. */
static bool Failed(napi_env env, const TF_AutoStatus &status) {
  if (TF_GetCode(status.status) == TF_OK) return false;
  napi_throw_error(env, nullptr, TF_Message(status.status));
  return true;
}

template <size_t N>
static TFJSBackend *Arguments(napi_env env, napi_callback_info info, napi_value (&arguments)[N]) {
  size_t count = N;
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  return GetTFJSBackend(env);
}

/**
 * What goes into an op and comes out of it, as numbers in one array that both sides see: to take JavaScript's objects apart, and to make them, takes
 * longer than TensorFlow takes for the op. One for each thread that runs JavaScript.
 */
constexpr int kNumbers = 1 << 14;
static thread_local int32_t *numbers;

/** An op with its attributes, to copy; never run, and never freed. */
struct DefinedOp {
  std::string name;
  TFE_Op *op;
};
static thread_local std::vector<DefinedOp> defined_ops;

/** shareNumbers(): Int32Array */
static napi_value ShareNumbers(napi_env env, napi_callback_info) {
  napi_value buffer, array;
  napi_create_arraybuffer(env, kNumbers * sizeof(int32_t), reinterpret_cast<void **>(&numbers), &buffer);
  napi_create_typedarray(env, napi_int32_array, kNumbers, buffer, 0, &array);
  napi_ref kept;
  napi_create_reference(env, array, 1, &kept);
  return array;
}

/** defineOp(name: string, attributes: Attribute[]): number, by which runOp knows it. */
static napi_value DefineOp(napi_env env, napi_callback_info info) {
  napi_value arguments[2], index;
  TFJSBackend *backend = Arguments(env, info, arguments);
  const std::string name = ToText(env, arguments[0]);
  TF_AutoStatus status;
  TFE_Op *op = TFE_NewOp(backend->tfe_context_, name.c_str(), status.status);
  if (Failed(env, status)) return nullptr;
  uint32_t count = 0;
  napi_get_array_length(env, arguments[1], &count);
  for (uint32_t i = 0; i < count && !IsExceptionPending(env); i++) {
    napi_value attribute;
    napi_get_element(env, arguments[1], i, &attribute);
    AssignOpAttr(env, op, attribute);
  }
  if (IsExceptionPending(env)) {
    TFE_DeleteOp(op);
    return nullptr;
  }
  defined_ops.push_back({name, op});
  napi_create_int32(env, defined_ops.size() - 1, &index);
  return index;
}

/** Where ops of this thread wait in line for a thread of their own, while they do; and where they run otherwise. */
static thread_local TFE_Executor *line, *at_once;

/** How far JavaScript may be ahead: enough to hide what it does between two ops; no further, since it counts steps, and ends them, when it gets there. */
constexpr int kOpsAhead = 256;

static void Wait() {
  TF_AutoStatus status;  // of no use: who takes the result of an op that failed hears of it
  if (line) TFE_ExecutorWaitForAllPendingNodes(line, status.status);
}

/** Before the JavaScript of a thread ends, whoever ends it. */
static void EndLine(void *env) {
  Wait();
  std::lock_guard<std::mutex> lock(left_mutex);
  left_references.erase(std::remove_if(left_references.begin(), left_references.end(), [env](auto &left) { return left.first == env; }),
                        left_references.end());
}

/** runAhead(ahead: boolean): whether this thread's ops run on another one, in order, while JavaScript goes on; else each has run when its call returns. */
static napi_value RunAhead(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  TFJSBackend *backend = Arguments(env, info, arguments);
  bool ahead = false;
  napi_get_value_bool(env, arguments[0], &ahead);
  if (!at_once) {
    here = env;
    at_once = TFE_ContextGetExecutorForThread(backend->tfe_context_);
    napi_add_env_cleanup_hook(env, EndLine, env);
  }
  Wait();
  TFE_Executor *former = line;
  line = ahead ? TFE_NewExecutor(true, true, kOpsAhead) : nullptr;
  TFE_ContextSetExecutorForThread(backend->tfe_context_, ahead ? line : at_once);
  if (former) TFE_DeleteExecutor(former);
  return nullptr;
}

/** forgetError(): where ops run ahead, one that failed fails those in line behind it, and all that come, until its error is forgotten. */
static napi_value ForgetError(napi_env, napi_callback_info) {
  Wait();
  if (line) TFE_ExecutorClearError(line);
  return nullptr;
}

static void DeleteLeftReferences() {
  std::lock_guard<std::mutex> lock(left_mutex);
  const auto ours = std::partition(left_references.begin(), left_references.end(), [](auto &left) { return left.first != here; });
  for (auto left = ours; left != left_references.end(); left++) napi_delete_reference(here, left->second);
  left_references.erase(ours, left_references.end());
}

/**
 * runOp(op: number, inputs: number, outputs: number, withShapes: boolean): takes the ids of so many inputs from the shared numbers, and puts there of each
 * output its id, its type, how many dimensions it has, and these; of which the last two are left out if nobody asks for them: to tell them waits for the
 * op, where ops run ahead. As the binding's executeOp, with room for 32 inputs and outputs.
 */
static napi_value RunOp(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  TFJSBackend *backend = Arguments(env, info, arguments);
  int32_t index = 0, inputs = 0, outputs = 0;
  napi_get_value_int32(env, arguments[0], &index);
  napi_get_value_int32(env, arguments[1], &inputs);
  napi_get_value_int32(env, arguments[2], &outputs);
  bool with_shapes = true;
  napi_get_value_bool(env, arguments[3], &with_shapes);
  const DefinedOp &defined = defined_ops[index];
  TF_AutoStatus status;
  TFE_AutoOp op(TFE_NewOp(backend->tfe_context_, defined.name.c_str(), status.status));
  for (int32_t i = 0; i < inputs && TF_GetCode(status.status) == TF_OK; i++) {
    auto found = backend->tfe_handle_map_.find(numbers[i]);
    if (found == backend->tfe_handle_map_.end()) TF_SetStatus(status.status, TF_INVALID_ARGUMENT, "a tensor that the op takes was deleted");
    else TFE_OpAddInput(op.op, found->second, status.status);
  }
  if (Failed(env, status)) return nullptr;
  TFE_OpAddAttrs(op.op, TFE_OpGetAttrs(defined.op));  // after the inputs, whose types hold
  DeleteLeftReferences();
  TFE_TensorHandle *results[32] = {};
  TFE_Execute(op.op, results, &outputs, status.status);
  if (Failed(env, status)) return nullptr;
  const int32_t first = backend->next_tensor_id_;
  int32_t *next = numbers;
  for (int32_t i = 0; i < outputs; i++) {
    *next++ = backend->InsertHandle(results[i]);
    *next++ = TFE_TensorHandleDataType(results[i]);
    if (!with_shapes) continue;
    const int dimensions = TFE_TensorHandleNumDims(results[i], status.status);
    *next++ = dimensions;
    for (int axis = 0; axis < dimensions; axis++) *next++ = TFE_TensorHandleDim(results[i], axis, status.status);
  }
  if (Failed(env, status)) {
    for (int32_t i = 0; i < outputs; i++) {
      TFE_DeleteTensorHandle(results[i]);
      backend->tfe_handle_map_.erase(first + i);
    }
  }
  return nullptr;
}

/** The tensors of a graph that an array names, as in `node` and `node:1`. */
static std::vector<TF_Output> FindTensors(napi_env env, TF_Graph *graph, napi_value names) {
  uint32_t count = 0;
  napi_get_array_length(env, names, &count);
  std::vector<TF_Output> tensors;
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    napi_get_element(env, names, i, &element);
    const std::string name = ToText(env, element);
    const size_t colon = name.find(':');
    const int index = colon == std::string::npos ? 0 : std::stoi(name.substr(colon + 1));
    tensors.push_back({TF_GraphOperationByName(graph, name.substr(0, colon).c_str()), index});
  }
  return tensors;
}

/** addFunction(name: string, graph: Uint8Array, inputs: string[], outputs: string[]): a GraphDef, and its tensors that are put in and taken out. */
static napi_value AddFunction(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  TFJSBackend *backend = Arguments(env, info, arguments);
  const std::string name = ToText(env, arguments[0]);
  void *data = nullptr;
  size_t length = 0;
  napi_get_typedarray_info(env, arguments[1], nullptr, &length, &data, nullptr, nullptr);

  TF_AutoStatus status;
  TF_Graph *graph = TF_NewGraph();
  TF_Buffer *buffer = TF_NewBufferFromString(data, length);
  TF_ImportGraphDefOptions *options = TF_NewImportGraphDefOptions();
  TF_GraphImportGraphDef(graph, buffer, options, status.status);
  TF_DeleteImportGraphDefOptions(options);
  TF_DeleteBuffer(buffer);
  TF_Function *function = nullptr;
  if (TF_GetCode(status.status) == TF_OK) {
    const auto inputs = FindTensors(env, graph, arguments[2]), outputs = FindTensors(env, graph, arguments[3]);
    function = TF_GraphToFunction(graph, name.c_str(), 0, -1, nullptr, inputs.size(), inputs.data(), outputs.size(), outputs.data(), nullptr,
                                    nullptr, "", status.status);
  }
  TF_DeleteGraph(graph);
  if (function) {
    TFE_ContextAddFunction(backend->tfe_context_, function, status.status);
    TF_DeleteFunction(function);
  }
  Failed(env, status);
  return nullptr;
}

/** removeFunction(name: string) */
static napi_value RemoveFunction(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  TFJSBackend *backend = Arguments(env, info, arguments);
  Wait();  // it may be called in line
  TF_AutoStatus status;
  TFE_ContextRemoveFunction(backend->tfe_context_, ToText(env, arguments[0]).c_str(), status.status);
  Failed(env, status);
  return nullptr;
}

/** A call of a function on the backend's device; null and an exception if it cannot be. Its inputs are held until it is deleted. */
static TFE_Op *NewCall(napi_env env, TFJSBackend *backend, napi_value name, napi_value ids, bool compiled) {
  TF_AutoStatus status;
  TFE_Op *op = TFE_NewOp(backend->tfe_context_, ToText(env, name).c_str(), status.status);
  if (Failed(env, status)) return nullptr;
  TFE_OpSetDevice(op, backend->device_name.c_str(), status.status);
  TFE_OpSetAttrBool(op, "_XlaMustCompile", compiled);
  void *data = nullptr;
  size_t count = 0;
  napi_get_typedarray_info(env, ids, nullptr, &count, &data, nullptr, nullptr);
  for (size_t i = 0; i < count && TF_GetCode(status.status) == TF_OK; i++) {
    auto found = backend->tfe_handle_map_.find(static_cast<int32_t *>(data)[i]);
    if (found == backend->tfe_handle_map_.end()) TF_SetStatus(status.status, TF_INVALID_ARGUMENT, "a tensor that the function takes was deleted");
    else TFE_OpAddInput(op, found->second, status.status);
  }
  if (!Failed(env, status)) return op;
  TFE_DeleteOp(op);
  return nullptr;
}

/** runFunction(name: string, ids: Int32Array, outputs: number, compiled: boolean): what executeOp gives. */
static napi_value RunFunction(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  TFJSBackend *backend = Arguments(env, info, arguments);
  int32_t count = 0;
  napi_get_value_int32(env, arguments[2], &count);
  bool compiled = false;
  napi_get_value_bool(env, arguments[3], &compiled);
  TFE_AutoOp call(NewCall(env, backend, arguments[0], arguments[1], compiled));
  if (!call.op) return nullptr;
  TF_AutoStatus status;
  std::vector<TFE_TensorHandle *> outputs(count, nullptr);
  TFE_Execute(call.op, outputs.data(), &count, status.status);
  if (Failed(env, status)) return nullptr;
  napi_value results;
  napi_create_array_with_length(env, count, &results);
  for (int32_t i = 0; i < count; i++) napi_set_element(env, results, i, backend->GenerateOutputTensorInfo(env, outputs[i]));
  return results;
}

/** A call on another thread, whose results nobody takes. */
struct Compilation {
  napi_async_work work;
  napi_deferred deferred;
  TFE_Op *call;
  int outputs;
  std::string error;
};

static void Compile(napi_env, void *data) {
  auto *compilation = static_cast<Compilation *>(data);
  TF_AutoStatus status;
  std::vector<TFE_TensorHandle *> outputs(compilation->outputs, nullptr);
  TFE_Execute(compilation->call, outputs.data(), &compilation->outputs, status.status);
  if (TF_GetCode(status.status) != TF_OK) compilation->error = TF_Message(status.status);
  else for (auto *output : outputs) TFE_DeleteTensorHandle(output);
}

static void Compiled(napi_env env, napi_status, void *data) {
  auto *compilation = static_cast<Compilation *>(data);
  TFE_DeleteOp(compilation->call);
  napi_value value;
  if (compilation->error.empty()) {
    napi_get_undefined(env, &value);
    napi_resolve_deferred(env, compilation->deferred, value);
  } else {
    napi_value message;
    napi_create_string_utf8(env, compilation->error.c_str(), NAPI_AUTO_LENGTH, &message);
    napi_create_error(env, nullptr, message, &value);
    napi_reject_deferred(env, compilation->deferred, value);
  }
  napi_delete_async_work(env, compilation->work);
  delete compilation;
}

/** compileFunction(name: string, ids: Int32Array, outputs: number): Promise<void>: compiles it for inputs like these, on a thread of libuv, by a run. */
static napi_value CompileFunction(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  TFJSBackend *backend = Arguments(env, info, arguments);
  TFE_ContextSetExecutorForThread(backend->tfe_context_, at_once);  // a call stays with the executor of the thread that made it, and this shall not stand in line
  TFE_Op *call = NewCall(env, backend, arguments[0], arguments[1], true);
  if (line) TFE_ContextSetExecutorForThread(backend->tfe_context_, line);
  if (!call) return nullptr;
  int32_t outputs = 0;
  napi_get_value_int32(env, arguments[2], &outputs);
  auto *compilation = new Compilation{nullptr, nullptr, call, outputs, ""};
  napi_value promise, label;
  napi_create_promise(env, &compilation->deferred, &promise);
  napi_create_string_utf8(env, "compileFunction", NAPI_AUTO_LENGTH, &label);
  napi_create_async_work(env, nullptr, label, Compile, Compiled, compilation, &compilation->work);
  napi_queue_async_work(env, compilation->work);
  return promise;
}

/** A function of TensorFlow's that has no C name; null if this TensorFlow has it not. */
template <typename F>
static F Function(const char *name) {
  return reinterpret_cast<F>(dlsym(dlopen("libtensorflow_framework.so.2", RTLD_LAZY | RTLD_NOLOAD), name));
}

/** usesOneDnn(): boolean, whether TensorFlow takes oneDNN's convolutions in graphs: on processors for which these are faster than its own. */
static napi_value UsesOneDnn(napi_env env, napi_callback_info) {
  auto *uses = Function<bool (*)()>("_ZN10tensorflow12IsMKLEnabledEv");
  napi_value value;
  napi_get_boolean(env, uses && uses(), &value);
  return value;
}

/** allowTf32(allowed: boolean): whether float32 products and convolutions may round their inputs to 10 bits, on GPUs that are faster so. */
static napi_value AllowTf32(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  Arguments(env, info, arguments);
  bool allowed = false;
  napi_get_value_bool(env, arguments[0], &allowed);
  auto *set = Function<void (*)(bool)>("_ZN3tsl32enable_tensor_float_32_executionEb");
  if (set) set(allowed);
  else napi_throw_error(env, nullptr, "this TensorFlow has no switch for TF32");
  return nullptr;
}

static napi_value Init(napi_env env, napi_value exports) {
  exports = InitTFNodeJSBinding(env, exports);
  const napi_property_descriptor properties[] = {
      {"shareNumbers", nullptr, ShareNumbers, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"defineOp", nullptr, DefineOp, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"runOp", nullptr, RunOp, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"runAhead", nullptr, RunAhead, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"forgetError", nullptr, ForgetError, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"addFunction", nullptr, AddFunction, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"removeFunction", nullptr, RemoveFunction, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"runFunction", nullptr, RunFunction, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"compileFunction", nullptr, CompileFunction, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"usesOneDnn", nullptr, UsesOneDnn, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"allowTf32", nullptr, AllowTf32, nullptr, nullptr, nullptr, napi_default, nullptr},
  };
  napi_define_properties(env, exports, ARRAY_SIZE(properties), properties);
  return exports;
}

}  // namespace tfnodejs

NAPI_MODULE_INIT() { return tfnodejs::Init(env, exports); }
