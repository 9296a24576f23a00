// Whether what an engine gives can be used at all.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>

namespace edgereason {

// True where logits or hidden states are numbers: no NaN, no +infinity, and not all -infinity,
// which in a logit bans a token. Nothing at all is no numbers. Looks at bits, without a branch for
// each, so that the loop becomes vectors.
inline bool AreNumbers(std::span<const float> values) noexcept {
  constexpr std::int32_t kInf = 0x7f800000;
  std::uint32_t broken = 0;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::int32_t>(value);
    broken |= static_cast<std::uint32_t>(bits >= kInf) |
              static_cast<std::uint32_t>((bits & 0x7fffffff) > kInf);
  }
  return broken == 0 &&
         std::ranges::any_of(values, [](float value) { return std::isfinite(value); });
}

}  // namespace edgereason
