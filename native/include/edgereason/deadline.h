// What the next steps will cost in milliseconds, learned while running.
//
// The time of a step is not linear in its rows on a CPU (2 rows can cost twice as much as 1, 64 rows only ten times),
// so the model is a curve over rows plus a slope per KV cell read, times a factor that follows the load of the machine
// within a few steps. Knows nothing about requests.
#pragma once

#include <array>
#include <cstdint>

namespace edgereason {

class CostModel {
 public:
  static constexpr std::int32_t kNumKnots = 11;  // 1, 2, 4, ... 1024 rows

  // What a step of `rows` rows that read `cells` KV cells in all took. Outliers move the curve little, the load factor
  // at once.
  void Observe(std::int32_t rows, std::int64_t cells, double ms) noexcept;

  // Expected milliseconds of such a step under the present load. Between knots linear; beyond what was seen
  // proportional to rows. Before anything was seen: kUnknownStepMs per row.
  double StepMs(std::int32_t rows, std::int64_t cells = 0) const noexcept;

  // The most rows whose step is expected to take no longer than `ms`, at least 1, at most `max_rows`.
  std::int32_t RowsWithin(double ms, std::int32_t max_rows) const noexcept;

  double load() const noexcept { return load_; }  // 1: as usual; 2: everything takes twice as long at present
  bool known() const noexcept { return num_seen_ > 0; }

  static constexpr double kUnknownStepMs = 20.0;

 private:
  double Curve(double rows) const noexcept;

  std::array<double, kNumKnots> knot_ms_{};   // 0: not seen
  std::array<double, kNumKnots> weight_{};
  double cell_ms_ = 0;  // slope per KV cell
  double load_ = 1;
  std::int64_t num_seen_ = 0;
};

}  // namespace edgereason
