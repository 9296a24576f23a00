// When thinking is fed as blends of tokens, and when as tokens: always as blends, or in turns by
// entropy (SwiReasoning, https://arxiv.org/abs/2510.05069).
//
//   BlendSwitch turns;
//   if (turns.Next(phase.blend, sampled.entropy)) ...   // this row is a blend
#pragma once

#include <cstdint>

#include "edgereason/phase.h"

namespace edgereason {

class BlendSwitch {
 public:
  // Asked once for each token, with the entropy of its logits. It begins with blends. A blend turns
  // into text once the model is surer than when it began to blend; text turns into blends once it
  // is less sure than when it began to write, and has written `dwell` tokens.
  bool Next(const Blend& rule, double entropy) noexcept {
    if (rule.top < 2) return false;
    if (rule.dwell == 0) return true;
    ++num_since_;
    if (reference_ < 0) reference_ = entropy;  // the first
    const bool surer = entropy < reference_;
    const bool unsure = entropy > reference_ && num_since_ > rule.dwell;
    if (blends_ ? surer : unsure) {
      blends_ = !blends_;
      reference_ = entropy;
      num_since_ = 0;
      ++num_switches_;
    }
    return blends_;
  }

  std::int32_t num_switches() const noexcept { return num_switches_; }
  // It has turned more often than `rule` allows.
  bool is_over(const Blend& rule) const noexcept {
    return rule.switches > 0 && num_switches_ > rule.switches;
  }

 private:
  bool blends_ = true;
  double reference_ = -1;  // entropy at the last turn; negative: there was no row yet
  std::int32_t num_since_ = 0;
  std::int32_t num_switches_ = 0;
};

}  // namespace edgereason
