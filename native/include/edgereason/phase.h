// A phase is one stretch of decoding, as plain data: the scheduler runs it to its end without
// calling anyone.
//
//   Phase think{.role = Role::kThink, .budget = 200, .shut = {"</think>"}, .close = {151668}};
//   Phase answer{.budget = 64, .open = {"<think>"}, .shut = {"</think>"}, .close = {151668}};
//   scheduler.Run(id, {think, answer});   // the answer follows by itself
//
// A new field is one line here, one in fields.h, which the bindings convert by, and one in
// records.py.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "edgereason/engine.h"

namespace edgereason {

class Grammar;  // edgereason/grammar.h

inline constexpr std::int32_t kUnlimited = -1;

// The names are those of StopReason in records.py, in the same order.
enum class StopReason : std::uint8_t {
  kStop,         // the model ended it: its marker, a stop text, or an end-of-generation token
  kBudget,       // the phase's or the request's budget is used up
  kDeadline,     // the rest of the time is owed to the answer, or is over
  kStable,       // probes agree
  kLoop,         // the same tokens over and over
  kCancelled,    // Cancel
  kContext,      // no KV cells left
  kInterrupted,  // StopThinking
  kRefused,      // nothing was begun: its deadline cannot be met beside the others
};
inline constexpr std::array<std::string_view, 9> kStopReasonNames = {
    "stop",      "budget",  "deadline",    "stable", "loop",
    "cancelled", "context", "interrupted", "refused"};

// What a phase is for. The names are those of Role in records.py, in the same order.
enum class Role : std::uint8_t {
  kThink,    // its text is thoughts; may be ended for the answer's sake
  kAnswer,   // its text is the answer
  kDraft,    // an answer that may be thrown away
  kCarry,    // thoughts for the next phase, such as a summary
  kPrefill,  // only fills the KV: ends when its tokens are decoded, samples nothing
};
inline constexpr std::array<std::string_view, 5> kRoleNames = {"think", "answer", "draft", "carry",
                                                               "prefill"};

// Which text a token belongs to. The names are those of Channel in records.py.
enum class Channel : std::uint8_t { kAnswer, kReasoning };
inline constexpr std::array<std::string_view, 2> kChannelNames = {"answer", "reasoning"};

struct LogitBias {
  Token token = 0;
  float bias = 0;
};

// See Sampling in records.py for meaning and order.
struct Sampling {
  float temperature = 0;
  std::int32_t top_k = 0;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  std::int32_t penalty_window = 64;
  std::vector<LogitBias> logit_bias{};
  std::uint64_t seed = 0;
};

struct Probe {
  std::int32_t every = 0;  // 0: off
  std::vector<Token> cue{};
  std::int32_t tokens = 8;
  std::int32_t agree = 3;
  // A probe that ends by itself ends the thinking where its tokens are so likely, by their geometric
  // mean; 1: none does.
  double sure = 1;
};

struct Loop {
  std::int32_t max_period = 0;  // 0: off
  std::int32_t repeats = 4;
  std::int32_t min_tokens = 32;
};

// A token, and how likely it was: a natural logarithm, of the logits as the model gave them.
struct TokenScore {
  Token token = kNoToken;
  float logprob = 0;
};

// Thinking in blends: the next row is the mean of the likeliest tokens' embeddings, weighted by their
// probability. See Blend in records.py.
struct Blend {
  std::int32_t top = 0;    // tokens blended at most; 0, 1: off
  float noise = 0;         // temperature of Gumbel noise on the weights; 0: none
  std::int32_t dwell = 0;  // tokens between two stretches of blends, at least; 0: all is blended
  std::int32_t switches =
      0;  // between the two; the one after the last ends the thinking; 0: no limit
};

struct Phase {
  Role role = Role::kAnswer;
  // Start again from these tokens; KV of the common prefix is kept.
  std::optional<std::vector<Token>> fresh{};
  // Steps of thinking without tokens: the hidden state of the last row, after the final norm, is
  // the embedding of the next. A phase with them samples nothing. 0: an ordinary phase.
  std::int32_t latent = 0;
  bool retract = false;        // take the end mark of the phase before back out of the context
  std::vector<Token> force{};  // put into the context before sampling begins
  std::int32_t budget = kUnlimited;  // tokens sampled at most
  // Tokens of this phase and of all thinking before it at most: what thinking leaves of it, the
  // budget grows by. -1: it does not.
  std::int32_t total = kUnlimited;
  float soft = 1;  // from which fraction of the budget the end becomes likelier; 1: off
  // Thinking ends at the end of a sentence where the end mark's logit is no more than so many nats
  // below the best (ThinkBrake, arXiv 2510.00546); 0: off.
  float brake = 0;
  std::vector<std::string> open{};  // bytes that open a reasoning block inside this phase
  std::vector<std::string> shut{};  // bytes that end a reasoning block; they end a thinking phase
  // Bytes that open a call of a tool: they end a reasoning block as `shut` does, and are the
  // beginning of the answer behind it, which then has no `force`.
  std::vector<std::string> call{};
  std::vector<Token> close{};       // forced when a block ends in any way but its own `shut`
  std::vector<std::string> stop{};  // further bytes that end a phase which does not think
  std::int32_t owed = 0;            // answer tokens owed by phases that are not in the chain yet
  std::int32_t kind = 0;            // answers of one kind are of like length (policy/lengths.h)
  std::int32_t logprobs = -1;  // of each sampled token, and of so many of the likeliest; -1: none
  bool score_prompt = false;   // the same of each token of `fresh`; its KV is then shared with none
  // What the text must look like; null: nothing is asked. Its state is this phase's alone. The phase
  // ends where the grammar does, so that it has no `open`, `shut` and `stop`.
  std::shared_ptr<Grammar> grammar{};
  Sampling sampling{};
  Probe probe{};
  Loop loop{};
  Blend blend{};
  std::vector<Token> score{};  // kPrefill: tokens whose log-probs after its last row are told

  // It spends the thinking budget.
  bool thinks() const noexcept { return role == Role::kThink || role == Role::kCarry; }
  Channel channel() const noexcept { return thinks() ? Channel::kReasoning : Channel::kAnswer; }
};

struct PhaseResult {
  StopReason reason = StopReason::kStop;
  std::int32_t mark = -1;     // which text of `shut` (thinking) or `stop` (else) ended it; -1: none
  std::vector<Token> tokens;  // sampled, on either channel
  std::vector<double> entropies;      // nats, of the logits that each of them was drawn from
  std::vector<double> scores;         // natural logs, of Phase::score in its order
  std::string text;                   // of the phase's own channel, UTF-8, without markers
  std::string reasoning;              // of blocks re-opened in a phase that does not think
  std::optional<std::string> probe;   // text of the last finished probe
  std::int32_t num_reasoning = 0;     // tokens that count as thinking
  std::int32_t num_latent = 0;        // those of them that were latent steps, or fed as blends
  std::int32_t num_probe_tokens = 0;  // sampled by probes
  std::int32_t num_steps = 0;         // decode calls with a row of this phase
  std::int32_t num_drafted = 0;       // tokens that were guessed and decoded on trust
  std::int32_t num_accepted = 0;      // those of them that were sampled then
  std::int32_t num_prompt = 0;        // tokens put in by fresh, force and close
  std::int32_t num_cached = 0;        // those of them whose KV was there already
  std::int32_t num_cells = 0;         // KV cells it held at its end, when they were most
  // Over the sampled tokens, before temperature: natural logs, nats. All 0 when nothing was
  // sampled.
  double mean_logprob = 0;
  double min_logprob = 0;
  double mean_margin = 0;  // p(best) - p(second)
  double mean_entropy = 0;
  // With Phase::logprobs = n: n + 1 for each token, the token itself first, then the likeliest.
  std::vector<TokenScore> token_scores;
  std::vector<TokenScore> prompt_scores;  // with score_prompt, from the second token of `fresh` on
  double queue_ms = 0;                    // from the run of the phase to its first row
  double prefill_ms = 0;  // to the end of the step that computed the last forced token
  double decode_ms = 0;   // the rest
  double end_ms = 0;      // when it ended, on the scheduler's clock; not for Python
};

}  // namespace edgereason
