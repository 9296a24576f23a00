// Tokens that are guessed to follow, so that one step can check several of them: what stood behind
// the last few tokens when they stood here before (prompt lookup, as vLLM's `ngram` and llama.cpp's
// `ngram-simple`). What is sampled decides, so that no token changes.
//
//   Token guesses[8];
//   num = GuessNext(context.items(), guesses);                // 0: these tokens are new here
//   num = lookahead.NumWorth(cost, /*num_rows=*/1, num);      // how many of them pay; often 0
//   ... decode the last token and `num` guesses, sample in order until one is not as guessed ...
//   lookahead.Learn(num, num_right);
#pragma once

#include <cstdint>
#include <span>

#include "edgereason/context_item.h"
#include "policy/cost.h"

namespace edgereason {

inline constexpr std::int32_t kMostAhead = 32;  // tokens guessed in a step at most

// Fills `guesses` from the place where the most of the last tokens stood before, 3 at least, the
// latest such place. What ends with the text goes on with itself. Returns how many there are: all,
// or fewer before something that is no token, or none. Reads the text once.
std::int32_t GuessNext(std::span<const ContextItem> items, std::span<Token> guesses) noexcept;

// Whether guesses pay, for one sequence, learned from how many were right.
class Lookahead {
 public:
  // Of at most `most` guesses, the number that gives the most tokens a millisecond in a step which
  // has `num_rows` rows without them; 0 where none gives a twentieth more than the step alone. Then
  // it is asked in vain for 64 tokens, twice as long each time.
  std::int32_t NumWorth(const CostModel& cost, std::int32_t num_rows, std::int32_t most) noexcept;
  void Learn(std::int32_t num, std::int32_t num_right) noexcept;

  double share_right() const noexcept { return share_right_; }

 private:
  static constexpr double kPrior = 0.8;
  static constexpr std::int32_t kFirstRest = 64;

  double share_right_ = kPrior;  // of guesses whose predecessors were right
  std::int32_t rest_ = 0;        // steps yet to go without
  std::int32_t next_rest_ = kFirstRest;
};

}  // namespace edgereason
