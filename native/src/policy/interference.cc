#include "policy/interference.h"

#include <algorithm>
#include <cmath>

namespace edgereason {
namespace {

constexpr double kMemoryMs = 10000;  // how far back requests say what is to come
constexpr double kUnknownMs = 1000;  // waited without a loss, before anything is known

}  // namespace

void Interference::Count(double now_ms, double waited_ms, double taken_ms) noexcept {
  if (waited_ms == 0 && waited_ms_ == 0) return;  // nobody has a deadline
  const double kept = std::exp((at_ms_ - now_ms) / kMemoryMs);
  waited_ms_ = waited_ms_ * kept + waited_ms;
  taken_ms_ = taken_ms_ * kept + taken_ms;
  at_ms_ = now_ms;
}

double Interference::Slack(double now_ms, double most) const noexcept {
  if (taken_ms_ == 0) return 1;
  const double kept = std::exp((at_ms_ - now_ms) / kMemoryMs);
  const double share = taken_ms_ * kept / (waited_ms_ * kept + kUnknownMs);
  return share < 1 ? std::min(1 / (1 - share), most) : most;
}

}  // namespace edgereason
