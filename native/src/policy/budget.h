// Counting tokens against a limit, and making the end likelier before it comes.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include "edgereason/phase.h"

namespace edgereason {

// Spent one token at a time; cumulative for as long as it lives.
class TokenBudget {
 public:
  explicit TokenBudget(std::int32_t limit = kUnlimited) : limit_(limit) {}

  bool can_spend() const noexcept { return limit_ == kUnlimited || used_ < limit_; }
  void Spend() noexcept { ++used_; }
  // Of tokens that turned out to be part of a mark.
  void Refund(std::int32_t num) noexcept { used_ -= num; }
  std::int32_t used() const noexcept { return used_; }
  std::int32_t limit() const noexcept { return limit_; }
  std::int32_t remaining() const noexcept {
    return limit_ == kUnlimited ? std::numeric_limits<std::int32_t>::max() : limit_ - used_;
  }

 private:
  std::int32_t limit_;
  std::int32_t used_ = 0;
};

// How far the soft budget lifts the logit of the end mark above the best other logit, as a share of
// the way there. 0 before `soft` of the limit is used and where there is no limit; then rises
// linearly to 1 at the limit. Where the text is not at the end of a sentence only the square of it
// counts, so that thinking ends between sentences if it can.
//   SoftShare(0.5, 75, 100, true) == 0.5
float SoftShare(float soft, std::int32_t used, std::int32_t limit, bool at_sentence_end) noexcept;

// The end of a sentence: . ! ? or a line break, maybe followed by quotes, brackets or spaces.
bool EndsSentence(std::string_view text) noexcept;

}  // namespace edgereason
