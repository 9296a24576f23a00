// What is wrong with the rows of a step, whatever the engine.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "edgereason/engine.h"

namespace edgereason {

// "" where `rows` may be decoded, else why not. `lengths` [max_seqs] are the tokens that each
// sequence has; `ahead` [max_seqs] gets how many rows each has in this step.
std::string CheckRows(std::span<const Row> rows, const EngineInfo& info,
                      std::span<const Pos> lengths, std::span<std::int32_t> ahead);

}  // namespace edgereason
