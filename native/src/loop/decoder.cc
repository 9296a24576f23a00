#include "loop/decoder.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <vector>

namespace edgereason {
namespace {

constexpr double kMeterMs = 100;
constexpr double kStaleMs = 1000;  // without a step for so long, the load may be another
// Rows of the steps of a warm-up: to learn what steps cost, and where that is known.
constexpr std::array<std::int32_t, 7> kLearning{1, 4, 16, 1, 2, 4, 16};
constexpr std::array<std::int32_t, 2> kTouching{1, 1};

std::int32_t MaxThreads(const EngineInfo& info, std::span<const std::int32_t> cores) {
  if (cores.empty()) return info.max_threads;
  return std::min(info.max_threads, static_cast<std::int32_t>(cores.size()));
}

std::int32_t Checked(std::int32_t num_threads, std::int32_t max_threads) {
  if (num_threads >= 0 && num_threads <= max_threads) return num_threads;
  throw Error(ErrorCode::kUsage,
              "threads must be 0 (follow the load) to " + std::to_string(max_threads) +
                  ", the cores this process may use, got " + std::to_string(num_threads));
}

}  // namespace

Decoder::Decoder(Engine* engine, const Clock* clock, Kv* kv, std::int32_t num_threads,
                 std::span<const std::int32_t> cores)
    : engine_(engine),
      clock_(clock),
      kv_(kv),
      max_threads_(MaxThreads(engine->info(), cores)),
      fixed_threads_(num_threads != 0 || max_threads_ <= 1),
      governor_(max_threads_, Checked(num_threads, max_threads_)),
      meter_(cores) {
  engine_->SetThreads(governor_.num_threads());
}

void Decoder::WarmUp() {
  governor_.SetBusyCores(meter_.BusyCores(), meter_.num_cores());
  const EngineInfo& info = engine_->info();
  const SeqId seq = kv_->Acquire();
  std::vector<Row> rows;
  std::int32_t pos = 0;
  // Two rounds: the first touches memory for the first time, so what it took does not count.
  const CostModel before = cost_;
  const bool is_known = before.known();
  const std::int32_t first_round = is_known ? 1 : 21;  // rows
  const std::span<const std::int32_t> rounds = is_known ? std::span<const std::int32_t>(kTouching)
                                                        : std::span<const std::int32_t>(kLearning);
  for (const std::int32_t num : rounds) {
    if (num > info.max_rows || pos + num > info.num_cells) break;
    rows.clear();
    for (std::int32_t i = 0; i < num; ++i) {
      rows.push_back({.seq = seq, .pos = pos + i, .token = 0, .output = i == num - 1});
    }
    if (Decode(rows) != Status::kOk) {
      throw Error(ErrorCode::kEngine, "the engine failed its warm-up: " + engine_->last_error());
    }
    pos += num;
    if (pos == first_round) cost_ = before;
  }
  kv_->Release(seq);
}

Status Decoder::Decode(std::span<const Row> rows) noexcept {
  const double begin_ms = clock_->NowMs();
  const Status status = engine_->Decode(rows);
  end_ms_ = clock_->NowMs();
  decode_ms_ = end_ms_ - begin_ms;
  if (status != Status::kOk) return status;
  const auto num_rows = static_cast<std::int32_t>(rows.size());
  std::int64_t cells = 0;
  for (const Row& row : rows) {
    kv_->Append(row.seq, 1);
    cells += row.pos;
  }
  cost_.Observe(num_rows, cells, decode_ms_);
  FollowLoad(num_rows);
  return status;
}

void Decoder::FollowLoad(std::int32_t num_rows) noexcept {
  const std::int32_t num_threads = governor_.num_threads();
  if (end_ms_ >= next_meter_ms_ && !fixed_threads_) {
    governor_.SetBusyCores(meter_.BusyCores(), meter_.num_cores());
    next_meter_ms_ = end_ms_ + kMeterMs;
  }
  if (governor_.Observe(end_ms_, num_rows, decode_ms_) == num_threads) return;
  engine_->SetThreads(governor_.num_threads());
  cost_.ForgetLoad();
}

void Decoder::WakeUp(double now_ms) noexcept {
  if (now_ms - end_ms_ > kStaleMs) cost_.ForgetLoad();
}

}  // namespace edgereason
