#include "policy/scores.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace edgereason {

bool AppendScores(std::span<const float> logits, Token token, std::int32_t num_top,
                  std::vector<TokenScore>* scores) {
  const auto num = static_cast<std::size_t>(std::max(num_top, 1));
  std::array<TokenScore, kMostScores> top;  // the likeliest so far, by their logits
  std::size_t num_found = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (num_found == num && !(logits[i] > top[num - 1].logprob)) continue;
    std::size_t at = num_found < num ? num_found++ : num - 1;
    for (; at > 0 && logits[i] > top[at - 1].logprob; --at) top[at] = top[at - 1];
    top[at] = {.token = static_cast<Token>(i), .logprob = logits[i]};
  }
  if (num_found == 0 || !std::isfinite(top[0].logprob)) return false;
  const auto best = static_cast<double>(top[0].logprob);
  double mass = 0;
  for (const float logit : logits) mass += std::exp(static_cast<double>(logit) - best);
  if (!std::isfinite(mass)) return false;
  const double log_mass = best + std::log(mass);
  const auto add = [&](Token which, float logit) {
    scores->push_back({which, static_cast<float>(static_cast<double>(logit) - log_mass)});
  };
  add(token, logits[static_cast<std::size_t>(token)]);
  for (std::size_t i = 0; i < static_cast<std::size_t>(num_top); ++i) {
    add(top[i].token, top[i].logprob);
  }
  return true;
}

}  // namespace edgereason
