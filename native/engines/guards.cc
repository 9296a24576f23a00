#include "guards.h"

#include <dlfcn.h>
#include <ggml-backend.h>
#include <llama.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <stdexcept>
#include <string_view>

#include "edgereason/error.h"

namespace edgereason {
namespace {

thread_local LogCapture* current = nullptr;
thread_local bool guarded = false;

// A libllama whose backends are files of their own (GGML_BACKEND_DL) looks for them beside the
// program and in the current folder, which may be a stranger's. They lie beside the library.
void LoadBackends() {
  if (ggml_backend_reg_count() > 0) return;
  Dl_info library = {};
  dladdr(reinterpret_cast<void*>(&llama_backend_init), &library);
  const auto folder =
      std::filesystem::path(library.dli_fname == nullptr ? "" : library.dli_fname).parent_path();
  if (!folder.empty()) ggml_backend_load_all_from_path(folder.c_str());
  if (ggml_backend_reg_count() > 0) return;
  throw Error(ErrorCode::kEngine, "libllama has no backend: none lies in " + folder.string(),
              "build llama-cpp-python with -DCMAKE_INSTALL_BINDIR=llama_cpp/lib");
}

void Begin() {
  LoadBackends();
  llama_backend_init();
}

}  // namespace

void InitLibrary() {
  // Each time: whoever else uses libllama in this process may have set its own.
  llama_log_set(&LogCapture::OnLog, nullptr);
  ggml_set_abort_callback(&AbortGuard::OnAbort);
  static std::once_flag once;
  std::call_once(once, Begin);
  const std::string_view version = llama_version();
  if (version != EDGEREASON_LLAMA_VERSION) {
    throw Error(ErrorCode::kEngine,
                "built against libllama " EDGEREASON_LLAMA_VERSION ", but this is libllama " +
                    std::string(version),
                "install the llama-cpp-python that edgereason asks for, or reinstall edgereason");
  }
}

LogCapture::LogCapture() noexcept : outer_(current) { current = this; }

LogCapture::~LogCapture() { current = outer_; }

std::string LogCapture::Text() const {
  std::string text = text_;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ';');
  return text;
}

void LogCapture::OnLog(ggml_log_level level, const char* text, void* /*data*/) {
  constexpr std::size_t kMost = 600;
  if (current == nullptr) return;
  const bool goes_on = level == GGML_LOG_LEVEL_CONT && current->taking_;
  current->taking_ = goes_on || level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR;
  if (!current->taking_) return;
  std::string& kept = current->text_;
  kept += text;
  if (kept.size() > kMost) kept.erase(0, kept.size() - kMost);
}

AbortGuard::AbortGuard() noexcept { guarded = true; }

AbortGuard::~AbortGuard() { guarded = false; }

void AbortGuard::OnAbort(const char* message) {
  if (guarded) {
    // The file name of the failed assertion is as it was where libllama was built.
    const std::string_view text = message;
    const std::size_t slash = text.rfind('/', text.find(": "));
    throw std::runtime_error(std::string(text.substr(slash == text.npos ? 0 : slash + 1)));
  }
  std::fprintf(stderr, "%s\n", message);
}

}  // namespace edgereason
