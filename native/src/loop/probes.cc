#include "loop/probes.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

namespace edgereason {
namespace {

std::string_view Trimmed(std::string_view text) noexcept {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// A line break before any text is only the space after the cue.
bool LineIsOver(const ProbeRun& probe) noexcept {
  const std::string_view text = probe.text;
  const std::string_view said = Trimmed(text);
  return !said.empty() && text.find('\n', text.find(said)) != std::string::npos;
}

// It came to an end by itself, and was sure of each token up to there (DEER, 2504.15895).
bool IsSure(const ProbeRun& probe, bool is_whole) noexcept {
  const double sure = probe.owner->phase().probe.sure;
  if (sure >= 1 || !is_whole || Trimmed(probe.text).empty()) return false;
  return std::exp(probe.logprob / probe.num_sampled) >= sure;
}

// Compares what the probe says with the ones before. True: enough of them in a row agree.
bool Agree(const ProbeRun& probe) {
  const std::string_view all = Trimmed(probe.text);
  const std::string_view said = all.substr(0, all.find('\n'));
  Sequence::ProbeState& state = probe.owner->probe;
  const bool same = state.agree > 0 && state.text == said && !said.empty();
  state.agree = same ? state.agree + 1 : 1;
  state.text = said;
  PhaseResult* result = probe.owner->result();
  result->probe = said;
  result->num_probe_tokens += probe.num_sampled;
  return !said.empty() && state.agree >= probe.owner->phase().probe.agree;
}

}  // namespace

void Probes::MayStart(Sequence* owner, std::int32_t num_embd) {
  const Probe& rule = owner->phase().probe;
  if (rule.every <= 0 || !owner->thinking()) return;
  if (owner->result()->num_reasoning < owner->probe.next_at) return;
  const auto mine = [&](const auto& probe) { return probe->owner == owner; };
  if (std::ranges::any_of(probes_, mine)) return;  // one at a time
  auto probe = std::make_unique<ProbeRun>();
  probe->owner = owner;
  probe->base = owner->num_decoded;
  const auto undecoded =
      owner->context().items().subspan(static_cast<std::size_t>(owner->num_decoded));
  probe->items.reserve(undecoded.size() + rule.cue.size() + static_cast<std::size_t>(rule.tokens));
  probe->items.assign(undecoded.begin(), undecoded.end());
  if (const float* latent = owner->context().Embedding(owner->num_decoded)) {
    probe->latent.assign(latent, latent + num_embd);
  }
  for (const Token token : rule.cue) probe->items.push_back(ContextItem::OfToken(token));
  probes_.reserve(probes_.size() + 1);
  // Last, since nothing throws from here on.
  probe->seq = kv_->Acquire();
  if (probe->seq < 0) return;
  if (!kv_->Fork(owner->seq, probe->seq, owner->num_decoded)) return kv_->Release(probe->seq);
  owner->probe.next_at += rule.every;
  probes_.push_back(std::move(probe));
}

bool Probes::Accept(ProbeRun* probe, const Sampled& sampled, const Vocab& vocab) {
  ++probe->num_sampled;
  probe->logprob += sampled.logprob;
  bool is_whole = vocab.Ends(sampled.token);
  if (!is_whole) {
    probe->items.push_back(ContextItem::OfToken(sampled.token));
    probe->text += vocab.Piece(sampled.token);
    is_whole = LineIsOver(*probe);
  }
  if (!is_whole && probe->num_sampled < probe->owner->phase().probe.tokens) return false;
  const bool ends = Agree(*probe) || IsSure(*probe, is_whole);
  End(probe);
  return ends;
}

void Probes::End(ProbeRun* probe) noexcept {
  kv_->Release(probe->seq);
  probe->owner = nullptr;
}

void Probes::Drop(const Sequence* owner) noexcept {
  for (const auto& probe : probes_) {
    if (probe->owner == owner) End(probe.get());
  }
}

bool Probes::DropNewest() noexcept {
  Sweep();
  if (probes_.empty()) return false;
  End(probes_.back().get());
  return true;
}

void Probes::Sweep() noexcept {
  std::erase_if(probes_, [](const auto& probe) { return probe->owner == nullptr; });
}

}  // namespace edgereason
