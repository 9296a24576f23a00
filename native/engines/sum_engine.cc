#include "sum_engine.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

#include "context/vocabulary.h"

namespace edgereason {
namespace {

// The tokens that both have. Throws where they are others, or where one lacks tokens that the other
// ends with or names.
Vocab Common(const Vocab& base, const Vocab& guide) {
  constexpr const char* kHint = "logits are added token by token: both need the same vocabulary";
  const std::size_t num = NumShared(base, guide, "guide", kHint);
  const auto lost = [num](const Vocab& vocab) {
    const auto is_beyond = [num](Token token) { return token >= static_cast<Token>(num); };
    return std::ranges::any_of(vocab.named, is_beyond) ||
           std::ranges::any_of(vocab.ends.begin() + static_cast<std::ptrdiff_t>(num),
                               vocab.ends.end(), [](std::uint8_t ends) { return ends != 0; });
  };
  if (lost(base) || lost(guide)) {
    throw Error(ErrorCode::kBundle,
                "the guide has " + std::to_string(guide.pieces.size()) + " tokens, the model " +
                    std::to_string(base.pieces.size()) + ", and some of them mean something",
                kHint);
  }
  Vocab common = base;
  common.pieces.resize(num);
  common.ends.resize(num);
  common.control.resize(num);
  return common;
}

EngineInfo Together(const EngineInfo& base, const EngineInfo& guide) {
  const std::uint32_t both = base.caps & guide.caps;
  return {.caps = both & (kLogits | kFork | kTrim | kSaveKv),
          .num_vocab = base.num_vocab,
          .num_embd = base.num_embd,
          .num_cells = std::min(base.num_cells, guide.num_cells),
          .max_rows = std::min(base.max_rows, guide.max_rows),
          .max_seqs = std::min(base.max_seqs, guide.max_seqs),
          .max_threads = std::min(base.max_threads, guide.max_threads),
          .cell_bytes = base.cell_bytes + guide.cell_bytes};
}

}  // namespace

SumEngine::SumEngine(std::shared_ptr<Engine> base, std::shared_ptr<Engine> guide, float strength)
    : base_(std::move(base)),
      guide_(std::move(guide)),
      strength_(strength),
      info_(Together(base_->info(), guide_->info())),
      vocab_(Common(base_->vocab(), guide_->vocab())) {
  info_.num_vocab = static_cast<std::int32_t>(vocab_.pieces.size());
  if (!std::isfinite(strength)) {
    throw Error(ErrorCode::kUsage,
                "the strength of a guide must be a number, got " + std::to_string(strength));
  }
  if ((~info_.caps & (kLogits | kTrim)) != 0) {
    throw Error(ErrorCode::kUnsupported,
                "a guide needs engines that give logits and can take tokens back, on both sides");
  }
  output_of_.resize(static_cast<std::size_t>(info_.max_rows), -1);
  sums_.resize(static_cast<std::size_t>(info_.max_seqs) *
               static_cast<std::size_t>(info_.num_vocab));
}

std::string SumEngine::last_error() const {
  return guide_failed_ ? "the guide: " + guide_->last_error() : base_->last_error();
}

Status SumEngine::Decode(std::span<const Row> rows) noexcept {
  guide_failed_ = false;
  const Status status = base_->Decode(rows);
  if (status != Status::kOk) return status;
  const Status guided = guide_->Decode(rows);
  if (guided != Status::kOk) {
    guide_failed_ = true;
    TakeBack(rows);
    return guided;
  }
  Add(rows);
  return Status::kOk;
}

// What the base has decoded alone. Its rows come in order, so that the first of a sequence says where.
void SumEngine::TakeBack(std::span<const Row> rows) noexcept {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto same = [&](const Row& row) { return row.seq == rows[i].seq; };
    if (std::ranges::any_of(rows.first(i), same)) continue;
    if (rows[i].pos == 0) {
      base_->Drop(rows[i].seq);
    } else {
      base_->Trim(rows[i].seq, rows[i].pos);
    }
  }
}

void SumEngine::Add(std::span<const Row> rows) noexcept {
  const auto num_vocab = static_cast<std::size_t>(info_.num_vocab);
  std::int32_t num_outputs = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    output_of_[i] = -1;
    if (!rows[i].output || !rows[i].logits) continue;
    const auto row = static_cast<std::int32_t>(i);
    const std::span<const float> base = base_->Logits(row), guide = guide_->Logits(row);
    if (base.size() < num_vocab || guide.size() < num_vocab) continue;
    output_of_[i] = num_outputs++;
    float* sum = sums_.data() + static_cast<std::size_t>(output_of_[i]) * num_vocab;
    if (strength_ == 0) {
      std::ranges::copy(base.first(num_vocab), sum);
      continue;
    }
    for (std::size_t token = 0; token < num_vocab; ++token) {
      sum[token] = base[token] + strength_ * guide[token];
    }
  }
}

std::span<const float> SumEngine::Logits(std::int32_t row) const noexcept {
  const std::int32_t output = output_of_[static_cast<std::size_t>(row)];
  if (output < 0) return {};
  const auto num_vocab = static_cast<std::size_t>(info_.num_vocab);
  return std::span(sums_).subspan(static_cast<std::size_t>(output) * num_vocab, num_vocab);
}

bool SumEngine::Fork(SeqId from, SeqId to, Pos len) noexcept {
  if (!base_->Fork(from, to, len)) return false;
  if (guide_->Fork(from, to, len)) return true;
  base_->Drop(to);
  return false;
}

// Where one cannot cut there, the other's rows beyond are of no use: both are empty then, as after
// any cut that fails.
bool SumEngine::Trim(SeqId seq, Pos len) noexcept {
  return base_->Trim(seq, len) && guide_->Trim(seq, len);
}

void SumEngine::Drop(SeqId seq) noexcept {
  base_->Drop(seq);
  guide_->Drop(seq);
}

// The number of bytes of the base's state, that state, the guide's.
std::vector<std::uint8_t> SumEngine::Save(SeqId seq) const {
  const std::vector<std::uint8_t> base = base_->Save(seq), guide = guide_->Save(seq);
  const std::uint64_t size = base.size();
  std::vector<std::uint8_t> state(sizeof size);
  std::memcpy(state.data(), &size, sizeof size);
  state.insert(state.end(), base.begin(), base.end());
  state.insert(state.end(), guide.begin(), guide.end());
  return state;
}

void SumEngine::Load(SeqId seq, std::span<const std::uint8_t> state) {
  std::uint64_t size = 0;
  if (state.size() >= sizeof size) std::memcpy(&size, state.data(), sizeof size);
  if (state.size() < sizeof size || size > state.size() - sizeof size) {
    throw Error(ErrorCode::kBundle, "saved KV of two models is cut off");
  }
  state = state.subspan(sizeof size);
  base_->Load(seq, state.first(size));
  try {
    guide_->Load(seq, state.subspan(size));
  } catch (...) {
    base_->Drop(seq);
    throw;
  }
}

void SumEngine::SetThreads(std::int32_t num_threads) noexcept {
  base_->SetThreads(num_threads);
  guide_->SetThreads(num_threads);
}

}  // namespace edgereason
