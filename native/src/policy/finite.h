// Whether what an engine gives can be used at all.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace edgereason {

// True where logits or hidden states are numbers: no NaN, no +infinity, and not all -infinity,
// which in a logit bans a token. Nothing at all is no numbers. Looks at bits, without a branch for
// each, so that the loop becomes vectors.
inline bool AreNumbers(std::span<const float> values) noexcept {
  constexpr std::uint32_t kInf = 0x7f800000;
  constexpr std::uint32_t kMinusInf = 0xff800000;
  std::uint32_t broken = 0;
  std::uint32_t finite = 0;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t is_finite = (bits & kInf) != kInf ? 1 : 0;
    finite |= is_finite;
    broken |= is_finite == 0 && bits != kMinusInf ? 1 : 0;
  }
  return finite != 0 && broken == 0;
}

}  // namespace edgereason
