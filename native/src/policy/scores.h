// What a row of logits says of a token, and of the likeliest ones.
//
//   std::vector<TokenScore> scores;
//   AppendScores(engine.Logits(0), token, /*num_top=*/2, &scores);   // token, best, second best
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "edgereason/phase.h"

namespace edgereason {

inline constexpr std::int32_t kMostScores = 20;  // likeliest tokens beside each

// Appends `token` and the `num_top` likeliest, 0 to kMostScores, the likeliest first; of equals the
// lower id comes first. logits: [num_vocab], num_vocab >= num_top. Reads all of them twice. False,
// and nothing is appended: they are no logits.
bool AppendScores(std::span<const float> logits, Token token, std::int32_t num_top,
                  std::vector<TokenScore>* scores);

}  // namespace edgereason
