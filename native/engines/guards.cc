#include "guards.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string_view>

namespace edgereason {
namespace {

thread_local LogCapture* current = nullptr;
thread_local bool guarded = false;

}  // namespace

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
