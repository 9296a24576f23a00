// What libllama says and how it dies, made usable: log lines become text, failed assertions
// exceptions.
#pragma once

#include <ggml.h>

#include <string>

namespace edgereason {

// Starts libllama and takes over its log and abort handlers. Throws kEngine where the library is
// not the one this was built against. To be called before anything is opened.
void InitLibrary();

// Collects the warnings and errors of this thread while it lives. Nested ones take over until they
// end.
class LogCapture {
 public:
  LogCapture() noexcept;
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  std::string Text() const;  // the last lines, in one

  static void OnLog(ggml_log_level level, const char* text, void* data);  // for llama_log_set

 private:
  LogCapture* outer_;
  std::string text_;
  bool taking_ = false;
};

// While it lives, a failed assertion of ggml on this thread throws std::runtime_error. Files that
// are damaged in places which libllama's loader trusts end up there; the loader turns the exception
// into a failed load.
class AbortGuard {
 public:
  AbortGuard() noexcept;
  ~AbortGuard();
  AbortGuard(const AbortGuard&) = delete;
  AbortGuard& operator=(const AbortGuard&) = delete;

  static void OnAbort(const char* message);  // for ggml_set_abort_callback
};

}  // namespace edgereason
