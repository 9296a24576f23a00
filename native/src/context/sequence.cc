#include "context/sequence.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "policy/scores.h"
#include "policy/stop.h"

namespace edgereason {
namespace {

// Room kept for an answer that has no budget of its own.
constexpr std::int32_t kUnlimitedAnswerReserve = 64;
// Bytes a token has at most, nearly always: text is reserved at this rate so that it does not grow
// while decoding.
constexpr std::size_t kBytesPerToken = 12;
constexpr std::size_t kCacheLine = 64;

void Ask(const void* line) noexcept {
  __builtin_prefetch(line, 1);
  asm volatile("");  // else GCC finds no effect in what only asks, and leaves all of it out
}

template <typename T>
void PrefetchAll(const T& object) noexcept {
  const auto* bytes = reinterpret_cast<const char*>(&object);
  for (std::size_t at = 0; at < sizeof object; at += kCacheLine) Ask(bytes + at);
}

// Where the next element goes.
void PrefetchEnd(const auto& elements) noexcept { Ask(elements.data() + elements.size()); }

std::size_t Index(Channel channel) noexcept { return static_cast<std::size_t>(channel); }

// Answer tokens that a phase may still sample, of a budget of which `left` is left.
std::int32_t AnswerSteps(const Phase& phase, std::int32_t left) noexcept {
  if (phase.thinks() || phase.role == Role::kPrefill) return 0;
  return phase.budget == kUnlimited ? kUnlimitedAnswerReserve : left;
}

}  // namespace

Sequence::Sequence(SequenceId id, const SequenceOptions& options, PrefixRef prefix,
                   const Vocab* vocab, std::int32_t num_cells)
    : id_(id),
      options_(options),
      vocab_(vocab),
      num_cells_(num_cells),
      context_(options.context_key, prefix, num_cells),
      think_(options.think_budget) {}

void Sequence::Enqueue(std::vector<Phase> chain, double now_ms) {
  if (!running() && chain_.empty()) enqueued_ms_ = now_ms;
  for (Phase& phase : chain) chain_.push_back(std::move(phase));
}

void Sequence::Put(std::span<const Token> tokens) {
  context_.Append(tokens);
  num_put_ += static_cast<std::int32_t>(tokens.size());
}

std::int32_t Sequence::Begin() {
  phase_ = std::move(chain_.front());
  chain_.pop_front();
  std::int32_t keep = num_decoded;
  std::int32_t cached = 0;
  if (phase_->fresh) keep = cached = Restart(*phase_->fresh, phase_->force.size());
  if (phase_->score_prompt) {  // all of its rows are needed
    cached = std::min(cached, context_.num_prefix());
    num_decoded = keep = std::min(keep, context_.num_prefix());
  }
  if (phase_->retract && mark_begin_ >= 0) {
    context_.Truncate(mark_begin_);
    num_decoded = keep = std::min(num_decoded, mark_begin_);
    carry_.clear();
    called_ = false;
  }
  mark_begin_ = -1;
  if (!std::exchange(called_, false)) Put(phase_->force);
  if (context_.size() == 0) throw Error(ErrorCode::kUsage, "a phase has nothing to go on from");
  // Where nothing is new, the last item is decoded again, for its logits.
  if (pending() == 0) num_decoded = keep = context_.size() - 1;
  StartRun(cached);
  return keep;
}

// The context begins anew. Returns how much of its KV stays.
std::int32_t Sequence::Restart(std::span<const Token> prompt, std::size_t num_forced) {
  const std::int32_t common = context_.Restart(prompt, num_decoded);
  // The last token is decoded again, for its logits.
  const auto last = context_.size() + static_cast<std::int32_t>(num_forced) - 1;
  num_decoded = std::clamp(common, 0, std::max(last, 0));
  num_put_ = context_.size();
  carry_.clear();
  called_ = false;
  return num_decoded;
}

void Sequence::StartRun(std::int32_t num_cached) {
  const bool thinks = phase_->thinks();
  run_ = Run{};
  std::vector<std::size_t> ends;
  for (const auto* marks : {&phase_->open, &phase_->shut}) {
    for (const std::string& mark : *marks) ends.push_back(vocab_->NamedEnd(mark));
  }
  run_.tracker = MarkerTracker(phase_->open, phase_->shut, phase_->stop, thinks, std::move(ends),
                               phase_->call);
  run_.repetition = RepetitionDetector(phase_->loop);
  run_.budget = TokenBudget(Limit());
  run_.num_prompt = context_.size();
  if (phase_->grammar) {
    run_.guide = std::make_unique<Guide>(phase_->grammar, run_.budget.remaining());
    carry_.clear();  // what came with the end mark is no part of the text that is asked for
  }
  run_.result = std::make_unique<PhaseResult>();
  run_.result->num_cached = num_cached;
  const std::int32_t most = latent()
                                ? 0
                                : std::min({run_.budget.remaining(),
                                            thinks ? think_.remaining() : num_cells_, num_cells_});
  const auto most_tokens = static_cast<std::size_t>(std::max(most, 0));
  run_.result->tokens.reserve(most_tokens + 1);
  if (phase_->logprobs >= 0) {
    run_.result->token_scores.reserve(most_tokens * static_cast<std::size_t>(phase_->logprobs + 1));
  }
  run_.result->entropies.reserve(most_tokens + 1);
  run_.text[Index(phase_->channel())].reserve(carry_.size() + most_tokens * kBytesPerToken + 64);
  if (!thinks) run_.text[Index(Channel::kAnswer)] += carry_;
  carry_.clear();
  if (thinks && !phase_->fresh) {
    // What is put into the model's mouth in the middle of thinking reads as its thought.
    for (const Token token : phase_->force) {
      run_.text[Index(Channel::kReasoning)] += vocab_->Piece(token);
    }
  }
  probe = {.next_at = phase_->probe.every, .agree = 0, .text = {}};
  SetThinkingTime(0, 0, 0);
}

// What thinking has left of the total is the answer's, beyond its own budget.
std::int32_t Sequence::Limit() const noexcept {
  if (phase_->total == kUnlimited || phase_->budget == kUnlimited) return phase_->budget;
  return std::max(phase_->budget, phase_->total - think_.used());
}

bool Sequence::spent() const noexcept {
  if (!run_.budget.can_spend()) return true;
  if (phase_->total == kUnlimited || phase_->thinks()) return false;
  const bool within_own = run_.budget.used() < phase_->budget;
  return !within_own && think_.used() + run_.budget.used() >= phase_->total;
}

bool Sequence::ends_at_once() const noexcept {
  if (phase_->role == Role::kPrefill) return false;
  const bool spent = phase_->thinks() && !think_.can_spend();
  return spent || !run_.budget.can_spend();
}

Sequence::Lift Sequence::EndLift() const noexcept {
  if (!phase_->thinks() || phase_->soft >= 1 || phase_->close.empty()) return {};
  // The tighter of the limits counts.
  const TokenBudget& budget = run_.budget.remaining() < think_.remaining() ? run_.budget : think_;
  const bool ends_sentence = EndsSentence(run_.text[Index(Channel::kReasoning)]);
  const float by_tokens = SoftShare(phase_->soft, budget.used(), budget.limit(), ends_sentence);
  if (limit_ms_ <= 0) return {by_tokens, StopReason::kBudget};
  const float soft = std::max(phase_->soft, static_cast<float>(1 - landing_ms_ / limit_ms_));
  const float by_time = SoftShare(soft, static_cast<std::int32_t>(used_ms_),
                                  static_cast<std::int32_t>(limit_ms_), ends_sentence);
  return by_time > by_tokens ? Lift{by_time, StopReason::kDeadline}
                             : Lift{by_tokens, StopReason::kBudget};
}

Sampled Sequence::Sample(Sampler* sampler, std::span<const float> logits) {
  const float share = EndLift().share;
  const Token lift = share > 0 ? phase_->close.front() : kNoToken;
  const std::span<const std::uint8_t> banned =
      begins_answer() ? std::span(vocab_->ends) : std::span<const std::uint8_t>{};
  const std::uint64_t draw = num_drawn_++;
  const std::span<const std::uint32_t> allowed =
      run_.guide ? run_.guide->mask() : std::span<const std::uint32_t>{};
  Sampled sampled = sampler->Sample(logits, phase_->sampling, context_.items(), draw, lift, share,
                                    banned, allowed);
  if (sampled.token == kNoToken) return sampled;
  if (phase_->logprobs >= 0 && !vocab_->Ends(sampled.token)) {
    AppendScores(logits, sampled.token, phase_->logprobs, &run_.result->token_scores);
  }
  run_.braked = Brakes(logits, sampled.token);
  if (run_.braked || !run_.turns.Next(phase_->blend, sampled.entropy)) return sampled;
  sampled.blend = sampler->Weigh(logits, phase_->sampling, phase_->blend, context_.items(), draw,
                                 lift, share, banned);
  const Token heaviest = sampled.blend.front().token;
  sampled.logprob +=
      logits[static_cast<std::size_t>(heaviest)] - logits[static_cast<std::size_t>(sampled.token)];
  sampled.token = heaviest;
  return sampled;
}

std::int32_t Sequence::MostGuesses() const noexcept {
  // Blends are no tokens, and a probe begins at a certain token: in a step of several it is missed.
  const bool may = running() && pending() == 1 && phase_->role != Role::kPrefill && !latent() &&
                   !scores_prompt() && phase_->blend.top < 2 && phase_->probe.every == 0;
  if (!may) return 0;
  std::int32_t budget = run_.budget.remaining();
  if (thinking()) budget = std::min(budget, think_.remaining());
  return std::max(std::min(budget - 1, num_cells_ - context_.size()), 0);
}

bool Sequence::ScorePrompt(std::int32_t at, std::span<const float> logits) {
  const std::int32_t first = context_.num_prefix();
  if (at < first || at + 1 >= run_.num_prompt) return true;
  const std::int32_t num_top = std::max(phase_->logprobs, 0);
  auto& scores = run_.result->prompt_scores;
  // Rows whose KV had to give way are decoded again.
  const std::ptrdiff_t num_scored = std::ssize(scores) / (num_top + 1);
  if (at - first != num_scored) return true;
  const Token next = context_.items()[static_cast<std::size_t>(at) + 1].token();
  return AppendScores(logits, next, num_top, &scores);
}

// Whether the model was about to end its thoughts, but for `token`.
bool Sequence::Brakes(std::span<const float> logits, Token token) const noexcept {
  if (phase_->brake <= 0 || token == phase_->close.front() || run_.num_sampled == 0) return false;
  if (!EndsSentence(run_.text[Index(Channel::kReasoning)])) return false;
  const float close = logits[static_cast<std::size_t>(phase_->close.front())];
  return *std::ranges::max_element(logits) - close <= phase_->brake;
}

bool Sequence::Score(std::span<const float> logits) {
  return phase_->score.empty() || LogProbs(logits, phase_->score, &run_.result->scores);
}

void Sequence::Feed(Token token, std::span<const float> mixed) {
  if (mixed.empty()) return context_.Append(token);
  if (run_.result->num_latent == 0) {
    const std::int32_t most = std::min({run_.budget.remaining(), think_.remaining(), num_cells_});
    context_.ReserveLatents(most, mixed.size());
  }
  context_.AppendBlend(mixed);
  ++run_.result->num_latent;
}

Sequence::Verdict Sequence::Accept(const Sampled& sampled, std::span<const float> mixed) {
  if (run_.braked) return {.ended = true, .reason = StopReason::kStable};
  run_.logprob_sum += sampled.logprob;
  run_.logprob_min = std::min(run_.logprob_min, static_cast<double>(sampled.logprob));
  run_.margin_sum += sampled.margin;
  run_.entropy_sum += sampled.entropy;
  ++run_.num_sampled;
  const Token token = sampled.token;
  const bool thinks = phase_->thinks();
  const bool was_inside = run_.tracker.inside();
  if (vocab_->Ends(token)) {
    // Whatever ends a thought, an answer follows.
    if (was_inside && !thinks && !phase_->close.empty()) return CloseThinking(StopReason::kStop);
    return {.ended = true, .reason = StopReason::kStop};
  }
  if (run_.guide) return AcceptGuided(token);
  // Asked before this token is fed: the lift acted on it.
  const Lift lift = EndLift();
  const bool lifted = lift.share > 0 && token == phase_->close.front();
  run_.result->tokens.push_back(token);
  run_.result->entropies.push_back(static_cast<double>(sampled.entropy));
  if (was_inside) {
    think_.Spend();
    ++run_.result->num_reasoning;
  }
  // Thinking that an answer phase re-opens spends the thinking budget, not the answer's.
  if (thinks || !was_inside) run_.budget.Spend();

  const auto event = run_.tracker.Feed(vocab_->Piece(token), &run_.text[Index(Channel::kAnswer)],
                                       &run_.text[Index(Channel::kReasoning)]);
  const bool may_be_mark = event != MarkerTracker::Event::kNone || run_.tracker.num_held() > 0;
  Feed(token, may_be_mark ? std::span<const float>{} : mixed);
  if (event == MarkerTracker::Event::kStop) {
    run_.result->mark = run_.tracker.mark();
    return {.ended = true, .reason = StopReason::kStop};
  }
  if (event == MarkerTracker::Event::kShut && was_inside) {
    // The token that completes the end mark is no thought.
    think_.Refund(1);
    --run_.result->num_reasoning;
    if (thinks) {
      run_.result->mark = run_.tracker.mark();
      return {.ended = true, .reason = StopReason::kStop, .shut = true};
    }
  }
  if (lifted) return {.ended = true, .reason = lift.reason};
  if (thinks && run_.turns.is_over(phase_->blend)) {
    return {.ended = true, .reason = StopReason::kBudget};
  }
  if (run_.tracker.inside() && !think_.can_spend()) return CloseThinking(StopReason::kBudget);
  if (spent()) return {.ended = true, .reason = StopReason::kBudget};
  if (!run_.repetition.Push(run_.result->tokens)) return {};
  if (run_.tracker.inside()) return CloseThinking(StopReason::kLoop);
  return {.ended = true, .reason = StopReason::kLoop};
}

// Where the context is full the text goes on without it: nothing is decoded behind it.
void Sequence::TakeAnswer(Token token) {
  if (context_.size() < num_cells_) context_.Append(token);
  run_.result->tokens.push_back(token);
  run_.budget.Spend();
  run_.text[Index(Channel::kAnswer)] += vocab_->Piece(token);
}

// A token that was drawn, and those that can only follow it: they are decoded with it, in one step.
Sequence::Verdict Sequence::AcceptGuided(Token token) {
  if (!run_.guide->Accept(token, run_.budget.remaining())) {
    return {.ended = true, .reason = StopReason::kBudget};
  }
  TakeAnswer(token);
  for (const Token forced : run_.guide->Forced()) {
    if (!run_.guide->Accept(forced, run_.budget.remaining())) {
      return {.ended = true, .reason = StopReason::kBudget};
    }
    TakeAnswer(forced);
  }
  if (run_.guide->MustEnd()) return {.ended = true, .reason = StopReason::kStop};
  if (spent()) return {.ended = true, .reason = StopReason::kBudget};
  return {};
}

// An answer that is cut gets what its grammar asks for. No step decodes it.
void Sequence::MakeWhole() {
  const std::span<const Token> ending = run_.guide->Ending();
  if (std::ssize(ending) > run_.budget.remaining()) return;
  for (const Token token : ending) TakeAnswer(token);
}

Sequence::Verdict Sequence::AcceptLatent(std::span<const float> hidden) {
  if (run_.result->num_latent == 0) {
    const std::int32_t most = std::min({phase_->latent, run_.budget.remaining(), num_cells_});
    context_.ReserveLatents(most, hidden.size());
  }
  context_.AppendLatent(hidden);
  think_.Spend();
  run_.budget.Spend();
  ++run_.result->num_reasoning;
  if (++run_.result->num_latent >= phase_->latent) return {.ended = true};
  if (think_.can_spend() && run_.budget.can_spend()) return {};
  return {.ended = true, .reason = StopReason::kBudget};
}

Sequence::Verdict Sequence::CloseThinking(StopReason reason) {
  if (phase_->thinks()) return {.ended = true, .reason = reason};
  run_.tracker.ForceShut(&run_.text[Index(Channel::kReasoning)]);
  PutClose(run_.result->tokens);
  // The model wrote all of it, and then ended its text: nothing is left to go on from.
  if (pending() == 0) return {.ended = true, .reason = reason};
  return {};
}

void Sequence::Break() noexcept {
  broken = true;
  chain_.clear();
  phase_.reset();
  run_ = Run{};
}

void Sequence::PutClose(std::span<const Token> sampled) {
  // Where the model has begun to write the end mark itself, only the rest of it is put.
  const std::span<const Token> close = phase_->close;
  std::size_t overlap = std::min(close.size(), sampled.size());
  while (overlap > 0 && !std::ranges::equal(close.first(overlap), sampled.last(overlap))) --overlap;
  Put(close.subspan(overlap));
}

std::unique_ptr<PhaseResult> Sequence::End(const Verdict& verdict, double now_ms) {
  if (run_.guide) MakeWhole();
  std::string& answer = run_.text[Index(Channel::kAnswer)];
  std::string& reasoning = run_.text[Index(Channel::kReasoning)];
  run_.tracker.Flush(&answer, &reasoning);
  std::unique_ptr<PhaseResult> result = std::move(run_.result);
  result->reason = verdict.reason;
  result->num_cells = num_decoded;
  const bool thinks = phase_->thinks();
  if (verdict.shut) mark_begin_ = context_.size() - NumMarkTokens();
  if (thinks ? !verdict.shut : run_.tracker.inside()) PutClose(result->tokens);
  owed_after_ = chain_.empty() ? phase_->owed : 0;

  if (thinks) {
    result->text = std::move(reasoning);
    carry_ = std::move(answer);
    called_ = verdict.shut && run_.tracker.called();
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
  for (std::int32_t num = 1; num <= context_.size(); ++num) {
    const Token token = context_.items()[static_cast<std::size_t>(context_.size() - num)].token();
    if (token == kNoToken) break;
    tail.insert(0, vocab_->Piece(token));
    const auto is_in_tail = [&](const std::string& mark) {
      return tail.find(mark) != std::string::npos;
    };
    if (std::ranges::any_of(phase_->shut, is_in_tail)) return num;
    if (std::ranges::any_of(phase_->call, is_in_tail)) return num;
  }
  return 0;
}

void Sequence::FillOwed(PlanSeq* plan) const noexcept {
  plan->pending = pending();
  plan->thinking = thinking();
  plan->owed_rows = 0;
  plan->owed_steps = owed_after_;
  if (phase_) {
    plan->owed_steps = phase_->owed + AnswerSteps(*phase_, run_.budget.remaining());
    if (phase_->thinks() || thinking()) {
      plan->owed_rows = static_cast<std::int32_t>(phase_->close.size());
    }
  }
  for (const Phase& next : chain_) {
    plan->owed_rows +=
        static_cast<std::int32_t>(next.force.size() + (next.fresh ? next.fresh->size() : 0));
    plan->owed_steps += AnswerSteps(next, next.budget);
  }
  plan->claimed = plan->owed_rows + plan->owed_steps;
}

std::int32_t Sequence::ExpectedSteps(const Lengths& lengths, double q) const noexcept {
  const auto expected = [&](const Phase& phase, std::int32_t given, std::int32_t most) {
    if (most <= 0) return 0;
    const double length = std::ceil(lengths.Quantile(phase.kind, q, given)) - given;
    return static_cast<std::int32_t>(std::min<double>(length, most));
  };
  std::int32_t steps = phase_ ? 0 : owed_after_;
  if (phase_) {
    const std::int32_t most = AnswerSteps(*phase_, run_.budget.remaining());
    steps = expected(*phase_, num_answered(), most) + expected(*phase_, 0, phase_->owed);
  }
  for (const Phase& next : chain_) {
    steps += expected(next, 0, AnswerSteps(next, next.budget));
  }
  return steps;
}

void Sequence::CountStep(double begin_ms, double end_ms) noexcept {
  if (run_.first_row_ms < 0) run_.first_row_ms = begin_ms;
  if (pending() == 0 && run_.prefilled_ms < 0) run_.prefilled_ms = end_ms;
  ++run_.result->num_steps;
}

void Sequence::CountGuesses(std::int32_t num, std::int32_t num_right) noexcept {
  lookahead.Learn(num, num_right);
  run_.result->num_drafted += num;
  run_.result->num_accepted += num_right;
}

void Sequence::Prefetch(int depth) const noexcept {
  if (depth == 0) return PrefetchAll(*this);
  if (!phase_) return;
  if (depth == 1) {
    PrefetchAll(*run_.result);
    PrefetchEnd(run_.text[Index(phase_->channel())]);
    PrefetchEnd(context_.items());
  } else {
    PrefetchEnd(run_.result->tokens);
    PrefetchEnd(run_.result->entropies);
  }
}

bool Sequence::NextText(Event* event) noexcept {
  for (const Channel channel : {Channel::kReasoning, Channel::kAnswer}) {
    // Text after the end mark of a reasoning phase is shown by the phase that follows.
    if (phase_->thinks() && channel == Channel::kAnswer) continue;
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
