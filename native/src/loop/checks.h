// What callers hand in, looked at on their own thread, before the loop sees it.
#pragma once

#include <cstdint>
#include <vector>

#include "edgereason/engine.h"
#include "edgereason/sequence_options.h"

namespace edgereason {

// Each throws an Error that names the value and the way out.
// `lookahead` of SchedulerOptions.
void CheckLookahead(std::int32_t lookahead, const EngineInfo& info);
// How many tokens `draft` may guess of. Throws kUsage, kUnsupported, kBundle where it cannot guess
// for `engine`.
std::size_t CheckDraft(const Engine& engine, const Engine& draft, std::int32_t lookahead);
void CheckOptions(const SequenceOptions& options);
void CheckPrefix(const PrefixKv& prefix, const EngineInfo& info);
// A chain of phases may run on this engine, and its prompts and answers fit into `num_cells`. Each
// prompt stands behind `num_prefix` positions. `begun`: the sequence has a context to go on from.
void CheckChain(const std::vector<Phase>& chain, const EngineInfo& info, std::int64_t num_cells,
                std::int32_t num_prefix, bool begun);

}  // namespace edgereason
