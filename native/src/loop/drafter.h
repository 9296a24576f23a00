// Tokens that a smaller model of the same vocabulary expects next, for a step to check (speculative
// decoding, arXiv 2211.17192). What is sampled decides, so that no token changes.
//
//   Drafter drafter(draft_engine, clock);
//   drafter.WarmUp();
//   num = drafter.Draft(/*seq=*/0, context.items(), std::span(guesses).first(8));
//
// It reads what a sequence reads, later, into KV of its own: cut back to what both have in common,
// forked where another sequence begins alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "edgereason/clock.h"
#include "edgereason/context_item.h"
#include "edgereason/engine.h"

namespace edgereason {

class Drafter {
 public:
  static constexpr std::int32_t kNever = std::numeric_limits<std::int32_t>::max();

  // Guesses none but the first `num_tokens` tokens.
  Drafter(Engine* engine, const Clock* clock, std::size_t num_tokens);

  // Learns what it costs. Throws kEngine.
  void WarmUp();
  void SetThreads(std::int32_t num_threads) noexcept;

  // Tokens of `items` that it has not read, the last of all always among them; kNever where some
  // are fed as something else than tokens.
  std::int32_t NumUnread(SeqId seq, std::span<const ContextItem> items) const noexcept;
  // Fills `guesses` with the likeliest token behind `items`, the likeliest behind that, and so on,
  // until one is unsure or ends the text. Returns how many. 0 also where there is much to read: at
  // most 64 tokens a call, so that no step waits for long.
  std::int32_t Draft(SeqId seq, std::span<const ContextItem> items,
                     std::span<Token> guesses) noexcept;

  // Expected of reading so many tokens, and of each guess.
  double ReadMs(std::int32_t num) const noexcept { return num * read_ms_; }
  double guess_ms() const noexcept { return guess_ms_; }

  // It is broken, for good: why.
  bool failed() const noexcept { return failed_; }
  std::string last_error() const { return engine_->last_error(); }

 private:
  struct Common {
    SeqId seq;
    std::int32_t num;  // tokens that it has read of what is asked for
  };

  std::int32_t NumCommon(SeqId seq, std::span<const ContextItem> items) const noexcept;
  Common MostCommon(SeqId seq, std::span<const ContextItem> items) const noexcept;
  void CutBack(SeqId seq, std::span<const ContextItem> items) noexcept;
  bool Read(SeqId seq, std::span<const ContextItem> items) noexcept;
  bool Decode(SeqId seq, bool with_output) noexcept;
  void ForgetOthers(SeqId seq) noexcept;

  Engine* engine_;
  const Clock* clock_;
  const EngineInfo info_;
  const Token num_tokens_;
  std::int32_t num_threads_ = 0;
  bool failed_ = false;
  std::vector<std::vector<Token>> read_;  // by sequence: whose KV is there
  std::vector<Row> rows_;                 // of one Decode
  double read_ms_ = 0;                    // lately, a token
  double guess_ms_ = 0;
};

}  // namespace edgereason
