#include "policy/arrivals.h"

#include <algorithm>
#include <cmath>

namespace edgereason {
namespace {

constexpr double kMemoryMs = 10000;  // how far back arrivals say what is to come

}  // namespace

void Arrivals::Count(double now_ms, double owed_ms) noexcept {
  share_ = share_ * std::exp((at_ms_ - now_ms) / kMemoryMs) + owed_ms / kMemoryMs;
  at_ms_ = now_ms;
}

double Arrivals::Slack(double now_ms, double most) const noexcept {
  const double share = share_ * std::exp((at_ms_ - now_ms) / kMemoryMs);
  return share < 1 ? std::min(1 / (1 - share), most) : most;
}

}  // namespace edgereason
