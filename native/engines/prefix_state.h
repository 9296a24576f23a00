// Rows of KV from outside as the state of a sequence: libllama has no call that writes them.
//
// What the bytes look like is learned from the state of one token, and every field of it is
// checked: a libllama that lays them out in another way is refused, never guessed at.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "edgereason/engine.h"

namespace edgereason {

// What `llama_state_seq_set_data` reads for `prefix`. `one_token` is the state of a sequence of one
// token; `pairs`: the model rotates neighbours, so keys are put in that order. Throws kBundle where
// the prefix does not have the model's shape, kUnsupported where the layout is not known.
std::vector<std::uint8_t> PrefixState(const PrefixKv& prefix,
                                      std::span<const std::uint8_t> one_token, bool pairs);

}  // namespace edgereason
