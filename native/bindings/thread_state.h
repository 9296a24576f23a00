// What Python keeps of a native thread. It makes that anew each time such a thread comes, memory for
// its frames included, and takes it away again: too dear for each step.
#pragma once

#include <Python.h>

#include "host.h"

namespace edgereason {

class ThreadState {
 public:
  ThreadState() noexcept {
    if (PyGILState_GetThisThreadState() != nullptr) return;  // a thread of Python's own
    PyGILState_Ensure();
    PyEval_SaveThread();
    kept_ = true;
  }

  ~ThreadState() {
    if (!kept_ || !EnterHosts()) return;
    PyGILState_Ensure();
    PyGILState_Release(PyGILState_LOCKED);
    PyGILState_Release(PyGILState_UNLOCKED);  // the one of the constructor
    LeaveHosts();
  }

  ThreadState(const ThreadState&) = delete;
  ThreadState& operator=(const ThreadState&) = delete;

 private:
  bool kept_ = false;
};

// Until the thread ends. For threads that come without the GIL.
inline void KeepThreadState() noexcept { thread_local const ThreadState state; }

}  // namespace edgereason
