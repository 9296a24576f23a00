#include "loop/checks.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace edgereason {
namespace {

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
  for (const LogitBias& bias : phase.sampling.logit_bias) CheckTokens({bias.token}, info);
  if (phase.probe.every > 0 && (info.caps & kFork) == 0) {
    throw Error(ErrorCode::kUnsupported, "probes need an engine that can fork a sequence");
  }
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

}  // namespace

void CheckOptions(const SequenceOptions& options) {
  if (std::isnan(options.deadline_ms)) {
    ThrowUsage("deadline must be a number of milliseconds, got nan");
  }
  if (options.think_budget < kUnlimited) {
    ThrowUsage("think budget must be -1 or more, got " + std::to_string(options.think_budget),
               "-1 is no limit, 0 is no thinking");
  }
}

void CheckPrefix(const PrefixKv& prefix, const EngineInfo& info) {
  const auto size = static_cast<std::size_t>(std::int64_t{prefix.num_layers} * prefix.num_kv_heads *
                                             prefix.num_positions * prefix.head_dim);
  if (size == 0 || prefix.keys.size() != size || prefix.values.size() != size) {
    ThrowUsage("keys and values of a prefix must be [layers, kv_heads, slots, head_dim]");
  }
  if ((~info.caps & (kPrefixKv | kFork)) != 0) {
    throw Error(ErrorCode::kUnsupported, "prefixes need an engine that takes KV and can fork");
  }
}

void CheckChain(const std::vector<Phase>& chain, const EngineInfo& info, std::int64_t num_cells,
                std::int32_t num_prefix) {
  if (chain.empty()) ThrowUsage("a run needs at least one phase");
  Length length;
  for (const Phase& phase : chain) {
    CheckPhase(phase, info);
    length.Add(phase, num_prefix);
  }
  if (length.sum() <= num_cells) return;
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

}  // namespace edgereason
