// The one exception of the core. Thrown while something is opened or submitted, never per token.
#pragma once

#include <stdexcept>
#include <string>

namespace edgereason {

// Each code is one class of edgereason/errors.py; bindings/translate_error.h maps them by name.
enum class ErrorCode {
  kUsage,
  kUnsupported,
  kContextFull,
  kModelNotFound,
  kBundle,
  kMemoryLimit,
  kEngine,
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message, std::string hint = "")
      : std::runtime_error(message), code_(code), hint_(std::move(hint)) {}

  ErrorCode code() const noexcept { return code_; }
  const std::string& hint() const noexcept { return hint_; }  // the way out; may be empty

 private:
  ErrorCode code_;
  std::string hint_;
};

}  // namespace edgereason
