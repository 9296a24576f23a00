// What a sequence is opened with: one line of thought, with its own context and its own KV. A
// request of Python's has one sequence, a vote of eight has eight more.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "edgereason/phase.h"

namespace edgereason {

using SequenceId = std::int64_t;  // never used twice

using PrefixId = std::int32_t;
inline constexpr PrefixId kNoPrefix = 0;

// A context of tokens alone whose KV is kept, or was.
struct KeptTokens {
  ContextKey key = 0;
  std::vector<Token> tokens{};
};

inline constexpr double kNever = std::numeric_limits<double>::infinity();

struct SequenceOptions {
  std::int32_t priority = 0;               // higher is more urgent
  double arrival_ms = 0;                   // on the scheduler's clock
  double deadline_ms = kNever;             // on the scheduler's clock
  std::int32_t think_budget = kUnlimited;  // over all phases
  bool stream = false;                     // pieces of text are told as they appear
  bool tell_probes = false;                // what probes hear is told as they end
  ContextKey context_key = 0;              // what Scheduler::AddAdapters was given
  PrefixId prefix = kNoPrefix;             // what every prompt stands behind
};

}  // namespace edgereason
