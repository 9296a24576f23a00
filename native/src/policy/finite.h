// Whether hidden states that an engine gives can be fed back. (The sampler looks at logits itself.)
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace edgereason {

// Nothing at all is not finite either.
inline bool AreFinite(std::span<const float> values) noexcept {
  return !values.empty() &&
         std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

}  // namespace edgereason
