// Tokens that are guessed to follow, so that one step can check several of them: what stood behind
// the last few tokens when they stood here before (prompt lookup, as vLLM's `ngram` and llama.cpp's
// `ngram-simple`). What is sampled decides, so that no token changes.
//
//   Token guesses[8];
//   Guessed found = GuessNext(context.items(), guesses);      // num 0: these tokens are new here
//   num = lookahead.NumWorth(cost, /*num_rows=*/1, found);    // how many of them pay; often 0
//   ... decode the last token and `num` guesses, sample in order until one is not as guessed ...
//   lookahead.Learn(num, num_right);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "edgereason/context_item.h"
#include "policy/cost.h"

namespace edgereason {

inline constexpr std::int32_t kMostAhead = 32;  // tokens guessed in a step at most

struct Guessed {
  std::int32_t num = 0;
  std::int32_t match = 0;  // tokens that stood before the guess as they stand at the end now
  double guess_ms = 0;     // that each of them costs, besides its row
};

// Instead of a match: a model guesses (loop/drafter.h).
inline constexpr std::int32_t kDrafted = 1 << 16;

// Fills `guesses` from the place where the most of the last tokens stood before, 3 at least, the
// latest such place. What ends with the text goes on with itself. There are fewer where something
// follows that is no token. Reads the text once.
Guessed GuessNext(std::span<const ContextItem> items, std::span<Token> guesses) noexcept;

// Whether guesses pay, for one sequence, learned from how many were right: behind short matches,
// longer ones and long ones, and those of a model.
class Lookahead {
 public:
  // The number of guesses that gives the most tokens a millisecond in a step which has `num_rows`
  // rows without them; 0 where none gives three tenths more than the step alone. Then it is asked in
  // vain 64 times behind such matches, twice as often each time.
  std::int32_t NumWorth(const CostModel& cost, std::int32_t num_rows,
                        const Guessed& found) noexcept;
  // Of what NumWorth said last.
  void Learn(std::int32_t num, std::int32_t num_right) noexcept;

 private:
  static constexpr std::int32_t kFirstRest = 64;
  static constexpr std::array kPriors = {0.7, 0.85, 0.95, 0.8};

  struct Kind {
    double share_right = 0;  // of guesses whose predecessors were right
    std::int32_t rest = 0;   // times yet to be asked in vain
    std::int32_t next_rest = kFirstRest;
  };

  std::array<Kind, kPriors.size()> kinds_ = {Kind{kPriors[0]}, Kind{kPriors[1]}, Kind{kPriors[2]},
                                             Kind{kPriors[3]}};
  std::size_t kind_ = 0;
};

}  // namespace edgereason
