#include "loop/drafter.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "edgereason/error.h"

namespace edgereason {
namespace {

constexpr std::int32_t kMostRead = 64;
constexpr float kLeastSure = 0.5F;  // a guess that is less likely right than wrong costs more
constexpr double kLearningRate = 0.1;
constexpr std::int32_t kFewUnread = 4;  // what was guessed right since, and what came of it
constexpr SeqId kNoSeq = -1;

struct Likeliest {
  Token token = kNoToken;  // none: these are no logits
  float probability = 0;
};

Likeliest Top(std::span<const float> logits) noexcept {
  if (logits.empty()) return {};
  const auto top = std::ranges::max_element(logits);
  if (!std::isfinite(*top)) return {};
  float sum = 0;
  for (const float logit : logits) sum += std::exp(logit - *top);
  return {static_cast<Token>(top - logits.begin()), 1 / sum};
}

void Learn(double* mean, double now) noexcept {
  *mean = *mean == 0 ? now : *mean + kLearningRate * (now - *mean);
}

}  // namespace

Drafter::Drafter(Engine* engine, const Clock* clock, std::size_t num_tokens)
    : engine_(engine),
      clock_(clock),
      info_(engine->info()),
      num_tokens_(static_cast<Token>(num_tokens)) {
  read_.resize(static_cast<std::size_t>(info_.max_seqs));
  for (auto& tokens : read_) tokens.reserve(static_cast<std::size_t>(info_.num_cells));
  rows_.reserve(kMostRead);
}

void Drafter::WarmUp() {
  const std::vector<ContextItem> made_up(17, ContextItem::OfToken(0));
  Token guess = 0;
  // The first round touches memory for the first time, so what it took does not count.
  for (int round = 0; round < 2 && !failed_; ++round) {
    read_ms_ = guess_ms_ = 0;
    Draft(0, std::span(made_up).first(16), {&guess, 1});
    Draft(0, made_up, {&guess, 1});
    ForgetOthers(kNoSeq);
  }
  if (failed_) {
    throw Error(ErrorCode::kEngine, "the draft model failed its warm-up: " + last_error());
  }
}

void Drafter::SetThreads(std::int32_t num_threads) noexcept {
  num_threads = std::min(num_threads, info_.max_threads);
  if (num_threads == num_threads_) return;
  num_threads_ = num_threads;
  engine_->SetThreads(num_threads);
}

std::int32_t Drafter::NumCommon(SeqId seq, std::span<const ContextItem> items) const noexcept {
  const auto& tokens = read_[static_cast<std::size_t>(seq)];
  const auto same = [](Token token, ContextItem item) { return item.token() == token; };
  const auto differ = std::ranges::mismatch(tokens, items, same).in1;
  // The last is read anew each time: its logits are wanted.
  return static_cast<std::int32_t>(std::min(differ - tokens.begin(), std::ssize(items) - 1));
}

// Its own, or where it can be forked that of another sequence which has more.
Drafter::Common Drafter::MostCommon(SeqId seq, std::span<const ContextItem> items) const noexcept {
  Common most{.seq = seq, .num = NumCommon(seq, items)};
  for (SeqId other = 0; other < info_.max_seqs && (info_.caps & kFork) != 0; ++other) {
    const std::int32_t num = NumCommon(other, items);
    if (num > most.num) most = {.seq = other, .num = num};
  }
  return most;
}

std::int32_t Drafter::NumUnread(SeqId seq, std::span<const ContextItem> items) const noexcept {
  if (items.empty() || std::ssize(items) > info_.num_cells) return kNever;
  const auto unread = items.subspan(static_cast<std::size_t>(MostCommon(seq, items).num));
  const auto is_none = [this](ContextItem item) {
    return item.token() < 0 || item.token() >= info_.num_vocab;
  };
  return std::ranges::any_of(unread, is_none) ? kNever : static_cast<std::int32_t>(unread.size());
}

// To what `items` begin with, and to as much of another sequence that has more of it.
void Drafter::CutBack(SeqId seq, std::span<const ContextItem> items) noexcept {
  auto& tokens = read_[static_cast<std::size_t>(seq)];
  const auto [best, num] = MostCommon(seq, items);
  if (best != seq) {
    engine_->Drop(seq);
    tokens.clear();
    if (!engine_->Fork(best, seq, num)) return;
    const auto& found = read_[static_cast<std::size_t>(best)];
    tokens.assign(found.begin(), found.begin() + num);
  } else if (std::ssize(tokens) > num) {
    const bool is_cut = engine_->Trim(seq, num);
    if (!is_cut) engine_->Drop(seq);
    tokens.resize(is_cut ? static_cast<std::size_t>(num) : 0);
  }
}

void Drafter::ForgetOthers(SeqId seq) noexcept {
  for (SeqId other = 0; other < info_.max_seqs; ++other) {
    auto& tokens = read_[static_cast<std::size_t>(other)];
    if (other == seq || tokens.empty()) continue;
    engine_->Drop(other);
    tokens.clear();
  }
}

// The rows that are made ready. False: there is no room for them, or it is broken.
bool Drafter::Decode(SeqId seq, bool with_output) noexcept {
  rows_.back().output = with_output;
  Status status = engine_->Decode(rows_);
  if (status == Status::kNoCells) {
    ForgetOthers(seq);
    status = engine_->Decode(rows_);
  }
  failed_ = status == Status::kFailed;
  if (status != Status::kOk) return false;
  for (const Row& row : rows_) read_[static_cast<std::size_t>(seq)].push_back(row.token);
  return true;
}

// False: not to the end.
bool Drafter::Read(SeqId seq, std::span<const ContextItem> items) noexcept {
  const auto begin = std::ssize(read_[static_cast<std::size_t>(seq)]);
  const auto most = std::min(kMostRead, info_.max_rows);
  const auto end = std::min<std::ptrdiff_t>(std::ssize(items), begin + most);
  rows_.clear();
  for (auto at = begin; at < end; ++at) {
    rows_.push_back({.seq = seq,
                     .pos = static_cast<Pos>(at),
                     .token = items[static_cast<std::size_t>(at)].token()});
  }
  const double begin_ms = clock_->NowMs();
  const bool is_last = end == std::ssize(items);
  if (!Decode(seq, is_last)) return false;
  if (end - begin > kFewUnread) {
    Learn(&read_ms_, (clock_->NowMs() - begin_ms) / static_cast<double>(end - begin));
  }
  return is_last;
}

std::int32_t Drafter::Draft(SeqId seq, std::span<const ContextItem> items,
                            std::span<Token> guesses) noexcept {
  const std::int32_t num_unread = NumUnread(seq, items);
  if (guesses.empty() || failed_ || num_unread == kNever) return 0;
  const double begin_ms = clock_->NowMs();
  CutBack(seq, items);
  if (!Read(seq, items)) return 0;
  std::int32_t num = 0;
  for (; num < std::ssize(guesses); ++num) {
    const Likeliest top = Top(engine_->Logits(static_cast<std::int32_t>(rows_.size()) - 1));
    const bool is_sure = top.token != kNoToken && top.probability >= kLeastSure;
    if (!is_sure || top.token >= num_tokens_ || engine_->vocab().Ends(top.token)) break;
    guesses[static_cast<std::size_t>(num)] = top.token;
    if (num + 1 == std::ssize(guesses)) continue;
    const auto at = static_cast<Pos>(read_[static_cast<std::size_t>(seq)].size());
    rows_.assign(1, {.seq = seq, .pos = at, .token = top.token});
    if (at >= info_.num_cells || !Decode(seq, true)) return num + 1;
  }
  if (num_unread <= kFewUnread) {
    Learn(&guess_ms_, (clock_->NowMs() - begin_ms) / std::max(num, 1));
  }
  return num;
}

}  // namespace edgereason
