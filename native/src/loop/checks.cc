#include "loop/checks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "context/vocabulary.h"
#include "policy/lookahead.h"
#include "policy/sampler.h"
#include "policy/scores.h"

namespace edgereason {
namespace {

constexpr std::int32_t kMostRepeats = 4096;  // what loops are looked for, in tokens and in times
constexpr std::ptrdiff_t kMostPhases = 1024;

[[noreturn]] void ThrowUsage(const std::string& message, const std::string& hint = {}) {
  throw Error(ErrorCode::kUsage, message, hint);
}

void CheckTokens(const std::vector<Token>& tokens, const EngineInfo& info) {
  for (const Token token : tokens) {
    if (token >= 0 && token < info.num_vocab) continue;
    ThrowUsage("token " + std::to_string(token) + " is outside the vocabulary of " +
               std::to_string(info.num_vocab) + " tokens");
  }
}

template <typename Number>
void Require(bool ok, const char* what, Number got) {
  if (!ok) ThrowUsage(std::string(what) + ", got " + std::to_string(got));
}

void CheckTexts(const std::vector<std::string>& texts, const char* what) {
  for (const std::string& text : texts) {
    if (text.empty()) ThrowUsage(std::string(what) + " must not be empty", "leave it out");
  }
}

void CheckSampling(const Sampling& sampling, const EngineInfo& info) {
  const auto is_share = [](float x) { return x >= 0 && x <= 1; };  // no NaN is
  Require(std::isfinite(sampling.temperature) && sampling.temperature >= 0,
          "temperature must be 0 or more", sampling.temperature);
  Require(sampling.top_k >= 0, "top_k must be 0 (off) or more", sampling.top_k);
  Require(is_share(sampling.top_p) && sampling.top_p > 0, "top_p must be in (0, 1]",
          sampling.top_p);
  Require(is_share(sampling.min_p), "min_p must be in [0, 1]", sampling.min_p);
  Require(std::isfinite(sampling.repetition_penalty) && sampling.repetition_penalty > 0,
          "repetition_penalty must be more than 0", sampling.repetition_penalty);
  Require(std::isfinite(sampling.presence_penalty), "presence_penalty must be a finite number",
          sampling.presence_penalty);
  Require(sampling.penalty_window >= 0, "penalty_window must be 0 or more",
          sampling.penalty_window);
  for (const LogitBias& bias : sampling.logit_bias) {
    CheckTokens({bias.token}, info);
    Require(bias.bias < std::numeric_limits<float>::infinity(),
            "a logit bias must be a number below infinity", bias.bias);
  }
}

void CheckRules(const Probe& probe, const Loop& loop, const EngineInfo& info) {
  Require(probe.every >= 0, "probe every must be 0 (off) or more", probe.every);
  if (probe.every > 0) {
    Require(probe.tokens >= 1, "probe tokens must be 1 or more", probe.tokens);
    Require(probe.agree >= 1, "probe agree must be 1 or more", probe.agree);
    Require(probe.sure > 0 && probe.sure <= 1, "probe sure must be in (0, 1]", probe.sure);
    if ((info.caps & kFork) == 0) {
      throw Error(ErrorCode::kUnsupported, "probes need an engine that can fork a sequence");
    }
  }
  Require(loop.max_period >= 0 && loop.max_period <= kMostRepeats,
          "loop max_period must be 0 (off) to 4096", loop.max_period);
  if (loop.max_period == 0) return;
  Require(loop.repeats >= 2 && loop.repeats <= kMostRepeats, "loop repeats must be in [2, 4096]",
          loop.repeats);
}

void CheckGrammar(const Phase& phase) {
  if (!phase.grammar) return;
  if (phase.thinks() || phase.role == Role::kPrefill) {
    ThrowUsage("a grammar is for answers, not for phases that think or only read");
  }
  if (!phase.open.empty() || !phase.shut.empty() || !phase.stop.empty()) {
    ThrowUsage("an answer with a grammar ends where the grammar says, not at marks or stop texts");
  }
}

void CheckBlend(const Phase& phase, const EngineInfo& info) {
  const Blend& blend = phase.blend;
  Require(blend.top >= 0 && blend.top <= kMostBlended, "blend top must be 0 (off) to 64",
          blend.top);
  Require(std::isfinite(blend.noise) && blend.noise >= 0, "blend noise must be 0 or more",
          blend.noise);
  Require(blend.dwell >= 0, "blend dwell must be 0 or more", blend.dwell);
  Require(blend.switches >= 0, "blend switches must be 0 (no limit) or more", blend.switches);
  if (blend.top < 2) return;
  if (!phase.thinks() || phase.latent > 0) {
    ThrowUsage("blends are thinking in tokens: they cannot be in an answer or a latent phase");
  }
  if ((~info.caps & (kEmbedIn | kTokenRows)) != 0) {
    throw Error(ErrorCode::kUnsupported,
                "blends need an engine that takes embeddings and gives those of its tokens");
  }
}

void CheckPhase(const Phase& phase, const EngineInfo& info) {
  CheckTokens(phase.force, info);
  CheckTokens(phase.close, info);
  CheckTokens(phase.probe.cue, info);
  if (phase.fresh) CheckTokens(*phase.fresh, info);
  if (phase.fresh && phase.fresh->empty() && phase.force.empty()) {
    ThrowUsage("a phase cannot start from an empty prompt");
  }
  if (phase.budget < kUnlimited) {
    ThrowUsage("phase budget must be -1 or more, got " + std::to_string(phase.budget));
  }
  if (phase.latent < 0) {
    ThrowUsage("latent steps must be 0 or more, got " + std::to_string(phase.latent));
  }
  if (phase.latent > 0 && !phase.thinks()) {
    ThrowUsage("latent steps are thinking: they cannot be in an answer phase");
  }
  if (phase.latent > 0 && (~info.caps & (kEmbedIn | kHiddenOut)) != 0) {
    throw Error(ErrorCode::kUnsupported,
                "latent steps need an engine that takes embeddings and gives hidden states");
  }
  Require(phase.soft >= 0 && phase.soft <= 1, "soft must be in [0, 1]", phase.soft);
  Require(phase.brake >= 0 && std::isfinite(phase.brake), "brake must be 0 (off) or more nats",
          phase.brake);
  if (phase.brake > 0 && (!phase.thinks() || phase.close.empty())) {
    ThrowUsage("a brake needs a phase that thinks, with an end mark to put");
  }
  Require(phase.owed >= 0, "owed must be 0 or more", phase.owed);
  CheckGrammar(phase);
  CheckTexts(phase.open, "a text that opens a reasoning block");
  CheckTexts(phase.shut, "a text that ends a reasoning block");
  CheckTexts(phase.stop, "a stop text");
  CheckTexts(phase.call, "a text that opens a call");
  Require(phase.total >= kUnlimited, "a total must be -1 (none) or more", phase.total);
  Require(phase.logprobs >= -1 && phase.logprobs <= std::min(kMostScores, info.num_vocab),
          "logprobs must be -1 (none) to 20", phase.logprobs);
  if (phase.score_prompt && !phase.fresh) ThrowUsage("a prompt that is scored must be fresh");
  CheckSampling(phase.sampling, info);
  CheckBlend(phase, info);
  CheckTokens(phase.score, info);
  if (!phase.score.empty() && phase.role != Role::kPrefill) {
    ThrowUsage("scores are of a phase that samples nothing", "give it the role prefill");
  }
  CheckRules(phase.probe, phase.loop, info);
}

// What a chain takes at least: its last prompt, latent steps, and the answers behind it.
struct Length {
  std::int64_t prompt = 0;
  std::int64_t latent = 0;
  std::int64_t answers = 0;
  std::int64_t owed = 0;

  void Add(const Phase& phase, std::int32_t num_prefix) {
    if (phase.fresh) *this = {.prompt = num_prefix + std::ssize(*phase.fresh)};
    latent += phase.budget < 0 ? phase.latent : std::min(phase.latent, phase.budget);
    answers += std::ssize(phase.force) + std::ssize(phase.close);
    if (!phase.thinks()) answers += std::max(phase.budget, 0);
    owed = phase.owed;
  }
  std::int64_t sum() const { return prompt + latent + answers + owed; }
};

[[noreturn]] void ThrowFull(const Length& length, std::int64_t num_cells) {
  const std::string steps =
      length.latent > 0 ? " tokens, " + std::to_string(length.latent) + " latent steps follow"
                        : " tokens";
  throw Error(ErrorCode::kContextFull,
              "the prompt has " + std::to_string(length.prompt) + steps +
                  " and the answer is owed " + std::to_string(length.answers + length.owed) +
                  " more, but the context holds " + std::to_string(num_cells),
              "shorten the prompt, lower the answer budget, or open the model with a larger "
              "context");
}

}  // namespace

void CheckLookahead(std::int32_t lookahead, const EngineInfo& info) {
  if (lookahead < 0 || lookahead > kMostAhead) {
    ThrowUsage("lookahead must be 0 (off) to " + std::to_string(kMostAhead) + " tokens, got " +
               std::to_string(lookahead));
  }
  if (lookahead > 0 && (info.caps & kTrim) == 0) {
    throw Error(ErrorCode::kUnsupported, "lookahead needs an engine that can take tokens back",
                "leave it at 0");
  }
}

std::size_t CheckDraft(const Engine& engine, const Engine& draft, std::int32_t lookahead) {
  if (lookahead == 0) {
    ThrowUsage("a draft model guesses nothing with lookahead 0", "say how many tokens, such as 8");
  }
  if ((~draft.info().caps & (kLogits | kTrim)) != 0) {
    throw Error(ErrorCode::kUnsupported,
                "a draft model needs an engine that gives logits and can take tokens back");
  }
  if (draft.info().max_seqs < engine.info().max_seqs) {
    ThrowUsage("the draft model is open for " + std::to_string(draft.info().max_seqs) +
               " sequences, the model for " + std::to_string(engine.info().max_seqs));
  }
  return NumShared(engine.vocab(), draft.vocab(), "draft model",
                   "what one guesses the other checks: both need the same vocabulary");
}

void CheckOptions(const SequenceOptions& options) {
  if (!std::isfinite(options.arrival_ms)) {
    ThrowUsage("arrival must be a number of milliseconds, got " +
               std::to_string(options.arrival_ms));
  }
  // No NaN either.
  if (!(options.deadline_ms > -std::numeric_limits<double>::infinity())) {
    ThrowUsage("deadline must be a number of milliseconds, got " +
               std::to_string(options.deadline_ms));
  }
  if (options.think_budget < kUnlimited) {
    ThrowUsage("think budget must be -1 or more, got " + std::to_string(options.think_budget),
               "-1 is no limit, 0 is no thinking");
  }
}

void CheckPrefix(const PrefixKv& prefix, const EngineInfo& info) {
  if (std::min({prefix.num_layers, prefix.num_kv_heads, prefix.num_positions, prefix.head_dim}) <
      1) {
    ThrowUsage("a prefix must not be empty");
  }
  const auto size = static_cast<std::size_t>(std::int64_t{prefix.num_layers} * prefix.num_kv_heads *
                                             prefix.num_positions * prefix.head_dim);
  if (prefix.keys.size() != size || prefix.values.size() != size) {
    ThrowUsage("keys and values of a prefix must be [layers, kv_heads, slots, head_dim]");
  }
  if ((~info.caps & (kPrefixKv | kFork)) != 0) {
    throw Error(ErrorCode::kUnsupported, "prefixes need an engine that takes KV and can fork");
  }
}

void CheckChain(const std::vector<Phase>& chain, const EngineInfo& info, std::int64_t num_cells,
                std::int32_t num_prefix, bool begun) {
  if (chain.empty()) ThrowUsage("a run needs at least one phase");
  Require(std::ssize(chain) <= kMostPhases, "a run has at most 1024 phases", chain.size());
  const Phase& first = chain.front();
  if (!begun && !first.fresh && (first.force.empty() || num_prefix > 0)) {
    ThrowUsage("the first phase of a sequence has nothing to go on from", "give it a prompt");
  }
  Length length;
  for (const Phase& phase : chain) {
    CheckPhase(phase, info);
    length.Add(phase, num_prefix);
    if (length.sum() > num_cells) ThrowFull(length, num_cells);
  }
}

}  // namespace edgereason
