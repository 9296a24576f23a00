// Notices that the last tokens are one short pattern over and over.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "edgereason/phase.h"

namespace edgereason {

// Cost per token: max_period comparisons.
class RepetitionDetector {
 public:
  RepetitionDetector() = default;
  explicit RepetitionDetector(const Loop& rule);

  // `tokens` are all tokens sampled so far, the newest last. True when they end in a stretch of
  // period p <= max_period that is at least `repeats` periods and at least `min_tokens` long.
  bool Push(std::span<const Token> tokens) noexcept;

 private:
  Loop rule_;
  std::vector<std::int32_t> run_;  // [p-1]: how many of the last tokens equal the one p before
};

}  // namespace edgereason
