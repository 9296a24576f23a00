#include "deep_stack.h"

#include <pthread.h>

#include <exception>
#include <string>

#include "edgereason/error.h"

namespace edgereason {
namespace {

struct Task {
  const std::function<void()>* work;
  std::exception_ptr thrown;
};

void* RunTask(void* argument) {
  auto* const task = static_cast<Task*>(argument);
  try {
    (*task->work)();
  } catch (...) {
    task->thrown = std::current_exception();
  }
  return nullptr;
}

}  // namespace

void OnDeepStack(std::size_t num_bytes, const std::function<void()>& work) {
  Task task{&work, nullptr};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_t thread;
  const bool started = pthread_attr_setstacksize(&attributes, num_bytes) == 0 &&
                       pthread_create(&thread, &attributes, &RunTask, &task) == 0;
  pthread_attr_destroy(&attributes);
  if (!started) {
    throw Error(ErrorCode::kMemoryLimit,
                "no stack of " + std::to_string(num_bytes >> 20) + " MiB could be had",
                "shorten the text, or raise the memory limit");
  }
  pthread_join(thread, nullptr);
  if (task.thrown) std::rethrow_exception(task.thrown);
}

}  // namespace edgereason
