#include "policy/lengths.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace edgereason {
namespace {

// Before anything was seen: half of the answers have 32 tokens or fewer, one of ten over 89.
const double kPriorMean = std::log(32.0);
constexpr double kPriorDeviation = 0.8;
constexpr double kMeanWeight = 1;    // lengths that the prior's mean is worth
constexpr double kSpreadWeight = 2;  // the same of its spread
constexpr double kLeastDeviation = 0.05;
constexpr double kMemory = 30;  // lengths that count

double Density(double z) noexcept { return std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi); }

double Above(double z) noexcept { return std::erfc(z / std::numbers::sqrt2) / 2; }

// z with Above(z) == p, p in (0, 1): Acklam's rational approximation, relative error 1.2e-9.
double InverseAbove(double p) noexcept {
  constexpr double kTail = 0.02425;
  if (p > 1 - kTail) return -InverseAbove(1 - p);
  if (p < kTail) {
    const double x = std::sqrt(-2 * std::log(p));
    const double above =
        ((((-7.784894002430293e-3 * x - 3.223964580411365e-1) * x - 2.400758277161838) * x -
          2.549732539343734) *
             x +
         4.374664141464968) *
            x +
        2.938163982698783;
    const double below =
        (((7.784695709041462e-3 * x + 3.224671290700398e-1) * x + 2.445134137142996) * x +
         3.754408661907416) *
            x +
        1;
    return -above / below;
  }
  const double x = p - 0.5;
  const double r = x * x;
  const double above =
      (((((-3.969683028665376e1 * r + 2.209460984245205e2) * r - 2.759285104469687e2) * r +
         1.383577518672690e2) *
            r -
        3.066479806614716e1) *
           r +
       2.506628277459239) *
      x;
  const double below =
      ((((-5.447609879822406e1 * r + 1.615858368580409e2) * r - 1.556989798598866e2) * r +
        6.680131188771972e1) *
           r -
       1.328068155288572e1) *
          r +
      1;
  return -above / below;
}

double LogLength(std::int32_t num_tokens) noexcept {
  return std::log(static_cast<double>(std::max(num_tokens, 1)));
}

struct Belief {
  double mean;
  double deviation;
};

Belief Posterior(const LengthModel::State& state) noexcept {
  const auto [weight, mean, spread] = state;
  const double apart = mean - kPriorMean;
  const double squares = kSpreadWeight * kPriorDeviation * kPriorDeviation + spread +
                         kMeanWeight * weight / (kMeanWeight + weight) * apart * apart;
  return {(kMeanWeight * kPriorMean + weight * mean) / (kMeanWeight + weight),
          std::max(std::sqrt(squares / (kSpreadWeight + weight)), kLeastDeviation)};
}

}  // namespace

void LengthModel::Observe(std::int32_t num_tokens, bool cut) noexcept {
  double value = LogLength(num_tokens);
  double inner = 0;  // spread of what the length may have been
  if (cut) {
    const Belief belief = Posterior(state());
    const double z = std::min((value - belief.mean) / belief.deviation, 6.0);
    const double hazard = Density(z) / std::max(Above(z), 1e-12);
    value = std::max(value, belief.mean + belief.deviation * hazard);
    inner = belief.deviation * belief.deviation * std::max(1 + z * hazard - hazard * hazard, 0.0);
  }
  const double kept = 1 - 1 / kMemory;
  const double before = kept * weight_;
  const double apart = value - mean_;
  weight_ = before + 1;
  mean_ += apart / weight_;
  spread_ = kept * spread_ + before / weight_ * apart * apart + inner;
}

double LengthModel::Quantile(double q, std::int32_t given) const noexcept {
  const Belief belief = Posterior(state());
  double left = 1;  // the share of answers that have `given` tokens
  if (given > 0) left = Above((LogLength(given) - belief.mean) / belief.deviation);
  const double z = InverseAbove(std::clamp((1 - q) * left, 1e-14, 1 - 1e-14));
  const double length = std::exp(std::min(belief.mean + belief.deviation * z, 20.0));
  return std::max(length, given + 1.0);
}

void LengthModel::Restore(const State& state) noexcept {
  const auto [weight, mean, spread] = state;
  const bool sane = weight >= 0 && std::isfinite(mean) && mean >= 0 && mean < 20 && spread >= 0 &&
                    std::isfinite(spread);
  if (!sane || !std::isfinite(weight)) return;
  weight_ = std::min(weight, kMemory);
  mean_ = mean;
  spread_ = spread;
}

void Lengths::Observe(std::int32_t kind, std::int32_t num_tokens, bool cut) {
  models_[kAny].Observe(num_tokens, cut);
  if (kind != kAny) models_[kind].Observe(num_tokens, cut);
}

double Lengths::Quantile(std::int32_t kind, double q, std::int32_t given) const noexcept {
  auto found = models_.find(kind);
  if (found == models_.end()) found = models_.find(kAny);
  return found->second.Quantile(q, given);
}

void Lengths::Restore(std::int32_t kind, const LengthModel::State& state) {
  models_[kind].Restore(state);
}

}  // namespace edgereason
