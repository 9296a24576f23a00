// Decodes the rows of a step, and learns from how long it took: what steps cost, and how many
// threads are best.
#pragma once

#include <span>

#include "context/kv.h"
#include "edgereason/clock.h"
#include "edgereason/engine.h"
#include "policy/cost.h"
#include "policy/threads.h"

namespace edgereason {

class Decoder {
 public:
  // `num_threads` 0: as many as the load of the machine allows, a core each at most where `cores`
  // are named. Throws kUsage.
  Decoder(Engine* engine, const Clock* clock, Kv* kv, std::int32_t num_threads,
          std::span<const std::int32_t> cores = {});

  // What steps were measured to cost before; WarmUp then learns the load alone.
  void RestoreCost(std::span<const double> knot_ms, double cell_ms) noexcept {
    cost_.Restore(knot_ms, cell_ms);
  }

  // Learns what steps cost with a few made-up rows, and touches all weights. Throws kEngine.
  void WarmUp();

  Status Decode(std::span<const Row> rows) noexcept;

  // What was seen of the load counts no more once the engine has rested for a while.
  void WakeUp(double now_ms) noexcept;

  const CostModel& cost() const noexcept { return cost_; }
  std::int32_t num_threads() const noexcept { return governor_.num_threads(); }
  double decode_ms() const noexcept { return decode_ms_; }  // of the last Decode
  double begin_ms() const noexcept { return end_ms_ - decode_ms_; }
  double end_ms() const noexcept { return end_ms_; }

 private:
  void FollowLoad(std::int32_t num_rows) noexcept;

  Engine* engine_;
  const Clock* clock_;
  Kv* kv_;
  const std::int32_t max_threads_;
  const bool fixed_threads_;
  CostModel cost_;
  ThreadGovernor governor_;
  LoadMeter meter_;
  double next_meter_ms_ = 0;
  double decode_ms_ = 0;
  double end_ms_ = 0;
};

}  // namespace edgereason
