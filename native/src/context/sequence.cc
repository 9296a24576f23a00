#include "context/sequence.h"

#include <algorithm>

#include "context/kv.h"
#include "policy/stop.h"

namespace edgereason {
namespace {

// Room kept for an answer that has no budget of its own.
constexpr std::int32_t kUnlimitedAnswerReserve = 64;
// Bytes a token has at most, nearly always: text is reserved at this rate so that it does not grow
// while decoding.
constexpr std::size_t kBytesPerToken = 12;

std::size_t Index(Channel channel) noexcept { return static_cast<std::size_t>(channel); }

std::int32_t AnswerReserve(std::int32_t budget) noexcept {
  return budget == kUnlimited ? kUnlimitedAnswerReserve : budget;
}

}  // namespace

Sequence::Sequence(RequestId id, const SequenceOptions& options, const Vocab* vocab,
                   std::int32_t num_cells)
    : id_(id),
      options_(options),
      vocab_(vocab),
      num_cells_(num_cells),
      think_(options.think_budget) {
  tokens_.reserve(static_cast<std::size_t>(num_cells) + 1);
}

void Sequence::Enqueue(std::vector<Phase> chain, double now_ms) {
  if (!running() && chain_.empty()) enqueued_ms_ = now_ms;
  for (Phase& phase : chain) chain_.push_back(std::move(phase));
}

void Sequence::Put(std::span<const Token> tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  num_put_ += static_cast<std::int32_t>(tokens.size());
}

std::int32_t Sequence::num_slots() const noexcept {
  const auto end = std::ranges::find_if_not(tokens_, IsSlot);
  return static_cast<std::int32_t>(end - tokens_.begin());
}

const float* Sequence::Embedding(std::int32_t at) const noexcept {
  const auto begin = tokens_.begin() + at;
  if (*begin != kLatentToken) return nullptr;
  // Counted from the end, which is near: rows are decoded there.
  const auto from_end = static_cast<std::size_t>(std::count(begin, tokens_.end(), kLatentToken));
  return latents_.data() + (latents_.size() - from_end * num_embd_);
}

std::int32_t Sequence::Begin() {
  phase_ = std::move(chain_.front());
  chain_.pop_front();
  std::int32_t keep = num_decoded;
  std::int32_t cached = 0;
  if (phase_->fresh) {
    const std::vector<Token>& fresh = *phase_->fresh;
    keep = CommonPrefix(tokens().first(static_cast<std::size_t>(num_decoded)), fresh);
    // The last token is decoded again, for its logits.
    keep = std::min(keep, static_cast<std::int32_t>(fresh.size() + phase_->force.size()) - 1);
    keep = std::max(keep, 0);
    tokens_.clear();
    latents_.clear();  // a prompt has none
    num_put_ = 0;
    num_decoded = keep;
    cached = keep;
    carry_.clear();
    Put(fresh);
  }
  if (phase_->retract && mark_begin_ >= 0) {
    tokens_.resize(static_cast<std::size_t>(mark_begin_));
    num_decoded = keep = std::min(num_decoded, mark_begin_);
    carry_.clear();
  }
  mark_begin_ = -1;
  Put(phase_->force);

  const bool reasoning = phase_->channel == Channel::kReasoning;
  run_ = Run{};
  run_.tracker = MarkerTracker(phase_->open, phase_->shut, phase_->stop, reasoning);
  run_.loop = LoopDetector(phase_->loop);
  run_.budget = TokenBudget(phase_->budget);
  run_.result = std::make_unique<PhaseResult>();
  run_.result->num_cached = cached;
  const std::int32_t most =
      latent() ? 0
               : std::min({run_.budget.remaining(), reasoning ? think_.remaining() : num_cells_,
                           num_cells_});
  const auto most_tokens = static_cast<std::size_t>(std::max(most, 0));
  run_.result->tokens.reserve(most_tokens + 1);
  run_.text[Index(phase_->channel)].reserve(carry_.size() + most_tokens * kBytesPerToken + 64);
  if (!reasoning) run_.text[Index(Channel::kAnswer)] += carry_;
  carry_.clear();
  if (reasoning && !phase_->fresh) {
    // What is put into the model's mouth in the middle of thinking reads as its thought.
    for (const Token token : phase_->force)
      run_.text[Index(Channel::kReasoning)] += vocab_->Piece(token);
  }
  probe = {.next_at = phase_->probe.every, .agree = 0, .text = {}};
  return keep;
}

bool Sequence::ends_at_once() const noexcept {
  if (prefill_only()) return false;
  const bool spent = phase_->channel == Channel::kReasoning && !think_.can_spend();
  return spent || !run_.budget.can_spend();
}

float Sequence::LiftShare() const noexcept {
  if (phase_->channel != Channel::kReasoning || phase_->soft >= 1 || phase_->close.empty())
    return 0;
  // The tighter of the two limits counts.
  const TokenBudget& budget = run_.budget.remaining() < think_.remaining() ? run_.budget : think_;
  const std::string& text = run_.text[Index(Channel::kReasoning)];
  return SoftShare(phase_->soft, budget.used(), budget.limit(), EndsSentence(text));
}

Sampled Sequence::Sample(Sampler* sampler, std::span<const float> logits) noexcept {
  const float share = LiftShare();
  const Token lift = share > 0 ? phase_->close.front() : kNoToken;
  return sampler->Sample(logits, phase_->sampling, tokens_, num_drawn_++, lift, share);
}

Sequence::Verdict Sequence::Accept(const Sampled& sampled) noexcept {
  run_.logprob_sum += sampled.logprob;
  run_.logprob_min = std::min(run_.logprob_min, static_cast<double>(sampled.logprob));
  run_.margin_sum += sampled.margin;
  run_.entropy_sum += sampled.entropy;
  ++run_.num_sampled;
  const Token token = sampled.token;
  if (vocab_->Ends(token)) return {.ended = true, .reason = StopReason::kStop};

  const bool reasoning_phase = phase_->channel == Channel::kReasoning;
  const bool was_inside = run_.tracker.inside();
  // Asked before this token is fed: the lift acted on it.
  const bool lifted = LiftShare() > 0 && token == phase_->close.front();
  tokens_.push_back(token);
  run_.result->tokens.push_back(token);
  if (was_inside) {
    think_.Spend();
    ++run_.result->num_reasoning;
  }
  // Thinking that an answer phase re-opens spends the thinking budget, not the answer's.
  if (reasoning_phase || !was_inside) run_.budget.Spend();

  const auto event = run_.tracker.Feed(vocab_->Piece(token), &run_.text[Index(Channel::kAnswer)],
                                       &run_.text[Index(Channel::kReasoning)]);
  if (event == MarkerTracker::Event::kStop) {
    run_.result->mark = run_.tracker.mark();
    return {.ended = true, .reason = StopReason::kStop};
  }
  if (event == MarkerTracker::Event::kShut && was_inside) {
    // The token that completes the end mark is no thought.
    think_.Refund(1);
    --run_.result->num_reasoning;
    if (reasoning_phase) {
      run_.result->mark = run_.tracker.mark();
      return {.ended = true, .reason = StopReason::kStop, .shut = true};
    }
  }
  if (lifted) return {.ended = true, .reason = StopReason::kBudget};
  if (run_.tracker.inside() && !think_.can_spend()) return CloseThinking(StopReason::kBudget);
  if (!run_.budget.can_spend()) return {.ended = true, .reason = StopReason::kBudget};
  if (run_.loop.Push(run_.result->tokens)) return {.ended = true, .reason = StopReason::kLoop};
  return {};
}

Sequence::Verdict Sequence::AcceptLatent(std::span<const float> hidden) noexcept {
  if (run_.result->num_latent == 0) {
    num_embd_ = hidden.size();
    const std::int32_t most = std::min({phase_->latent, run_.budget.remaining(), num_cells_});
    latents_.reserve(latents_.size() + static_cast<std::size_t>(most) * num_embd_);
  }
  tokens_.push_back(kLatentToken);
  latents_.insert(latents_.end(), hidden.begin(), hidden.end());
  think_.Spend();
  run_.budget.Spend();
  ++run_.result->num_reasoning;
  if (++run_.result->num_latent >= phase_->latent) return {.ended = true};
  if (think_.can_spend() && run_.budget.can_spend()) return {};
  return {.ended = true, .reason = StopReason::kBudget};
}

Sequence::Verdict Sequence::CloseThinking(StopReason reason) noexcept {
  if (phase_->channel == Channel::kReasoning) return {.ended = true, .reason = reason};
  run_.tracker.ForceShut(&run_.text[Index(Channel::kReasoning)]);
  PutClose(run_.result->tokens);
  return {};
}

void Sequence::PutClose(std::span<const Token> sampled) {
  // Where the model has begun to write the end mark itself, only the rest of it is put.
  const std::span<const Token> close = phase_->close;
  std::size_t overlap = std::min(close.size(), sampled.size());
  while (overlap > 0 && !std::ranges::equal(close.first(overlap), sampled.last(overlap))) --overlap;
  Put(close.subspan(overlap));
}

std::unique_ptr<PhaseResult> Sequence::End(const Verdict& verdict, double now_ms) {
  std::string& answer = run_.text[Index(Channel::kAnswer)];
  std::string& reasoning = run_.text[Index(Channel::kReasoning)];
  run_.tracker.Flush(&answer, &reasoning);
  std::unique_ptr<PhaseResult> result = std::move(run_.result);
  result->reason = verdict.reason;
  result->num_cells = num_decoded;
  const bool reasoning_phase = phase_->channel == Channel::kReasoning;
  if (verdict.shut) mark_begin_ = static_cast<std::int32_t>(tokens_.size()) - NumMarkTokens();
  if (reasoning_phase ? !verdict.shut : run_.tracker.inside()) PutClose(result->tokens);
  owed_after_ = chain_.empty() ? phase_->owed : 0;

  if (reasoning_phase) {
    result->text = std::move(reasoning);
    carry_ = std::move(answer);
  } else {
    result->text = std::move(answer);
    result->reasoning = std::move(reasoning);
  }
  if (run_.num_sampled > 0) {
    result->mean_logprob = run_.logprob_sum / run_.num_sampled;
    result->min_logprob = run_.logprob_min;
    result->mean_margin = run_.margin_sum / run_.num_sampled;
    result->mean_entropy = run_.entropy_sum / run_.num_sampled;
  }
  result->num_prompt = num_put_;
  num_put_ = 0;
  const double first = run_.first_row_ms < 0 ? now_ms : run_.first_row_ms;
  const double prefilled = run_.prefilled_ms < 0 ? now_ms : run_.prefilled_ms;
  result->queue_ms = first - enqueued_ms_;
  result->prefill_ms = prefilled - first;
  result->decode_ms = now_ms - prefilled;
  result->end_ms = now_ms;
  enqueued_ms_ = now_ms;
  phase_.reset();
  return result;
}

std::int32_t Sequence::NumMarkTokens() const {
  std::string tail;
  for (std::size_t num = 1; num <= tokens_.size(); ++num) {
    const Token token = tokens_[tokens_.size() - num];
    if (token == kLatentToken) break;
    tail.insert(0, vocab_->Piece(token));
    for (const std::string& mark : phase_->shut) {
      if (tail.find(mark) != std::string::npos) return static_cast<std::int32_t>(num);
    }
  }
  return 0;
}

void Sequence::FillOwed(PlanSeq* plan) const noexcept {
  plan->pending = pending();
  plan->thinking = thinking();
  plan->owed_rows = 0;
  plan->owed_steps = phase_ ? phase_->owed : owed_after_;
  if (phase_ && phase_->channel == Channel::kAnswer) {
    plan->owed_steps +=
        phase_->budget == kUnlimited ? kUnlimitedAnswerReserve : run_.budget.remaining();
    if (thinking()) plan->owed_rows = static_cast<std::int32_t>(phase_->close.size());
  } else if (phase_) {
    plan->owed_rows = static_cast<std::int32_t>(phase_->close.size());
  }
  for (const Phase& next : chain_) {
    plan->owed_rows +=
        static_cast<std::int32_t>(next.force.size() + (next.fresh ? next.fresh->size() : 0));
    if (next.channel == Channel::kAnswer) plan->owed_steps += AnswerReserve(next.budget);
  }
}

std::int32_t Sequence::reserve() const noexcept {
  PlanSeq plan;
  FillOwed(&plan);
  return plan.owed_rows + plan.owed_steps;
}

void Sequence::CountStep(double begin_ms, double end_ms) noexcept {
  if (run_.first_row_ms < 0) run_.first_row_ms = begin_ms;
  if (pending() == 0 && run_.prefilled_ms < 0) run_.prefilled_ms = end_ms;
  ++run_.result->num_steps;
}

bool Sequence::NextText(Event* event) noexcept {
  for (const Channel channel : {Channel::kReasoning, Channel::kAnswer}) {
    // Text after the end mark of a reasoning phase is shown by the phase that follows.
    if (phase_->channel == Channel::kReasoning && channel == Channel::kAnswer) continue;
    const std::string_view all = run_.text[Index(channel)];
    std::size_t& shown = run_.shown[Index(channel)];
    std::string_view next = all.substr(shown);
    next.remove_suffix(static_cast<std::size_t>(NumUnfinishedUtf8(next)));
    if (next.size() > Event::kTextBytes) {
      next = next.substr(0, Event::kTextBytes);
      next.remove_suffix(static_cast<std::size_t>(NumUnfinishedUtf8(next)));
    }
    if (next.empty()) continue;
    event->kind = Event::Kind::kText;
    event->id = id_;
    event->channel = channel;
    event->num_bytes = static_cast<std::uint8_t>(next.size());
    std::ranges::copy(next, event->text);
    shown += next.size();
    return true;
  }
  return false;
}

void Sequence::TakeBack(const Event& event) noexcept {
  run_.shown[Index(event.channel)] -= event.num_bytes;
}

}  // namespace edgereason
