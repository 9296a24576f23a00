// What the next steps will cost in milliseconds, learned while running.
//
//   CostModel cost;
//   cost.Observe(/*rows=*/1, /*cells=*/300, /*ms=*/7.1);  // after each step
//   double owed_ms = 20 * cost.StepMs(1, 320);            // an answer of 20 tokens
//
// The time of a step is not linear in its rows on a CPU (2 rows can cost twice as much as 1, 64
// rows only ten times), so the model is a curve over rows plus a slope per KV cell read, times a
// factor that follows the load of the machine within a few steps. Knows nothing about requests.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace edgereason {

class CostModel {
 public:
  static constexpr std::int32_t kNumKnots = 11;  // 1, 2, 4, ... 1024 rows
  static constexpr double kUnknownStepMs = 20.0;
  static constexpr std::int64_t kLately = -1;  // cells: as many a row as steps read lately

  // What a step of `rows` rows that read `cells` KV cells in all (each row its own) took. A single
  // outlier moves the load factor for a few steps and the curve little; a step that is not a number
  // is ignored.
  void Observe(std::int32_t rows, std::int64_t cells, double ms) noexcept;

  // Starts from what was measured before: milliseconds of steps of 1, 2, 4 ... rows that read no
  // cells (0: not measured), and per cell. Values that are not positive numbers are left out. What
  // was observed is forgotten.
  void Restore(std::span<const double> knot_ms, double cell_ms) noexcept;

  // Expected milliseconds of such a step under the present load; never less for more rows. Between
  // knots linear; beyond the most rows seen proportional to rows, below the fewest to their square
  // root. Before anything was seen: kUnknownStepMs per row.
  double StepMs(std::int32_t rows, std::int64_t cells = kLately) const noexcept;

  // The most rows whose step is expected to take no longer than `ms`, at least 1, at most
  // `max_rows`.
  std::int32_t RowsWithin(double ms, std::int32_t max_rows) const noexcept;

  // 1: as usual; 2: everything takes twice as long at present. What lasts becomes the usual.
  double load() const noexcept { return load_; }
  bool known() const noexcept { return restored_ || num_seen_ > 0; }
  // About so many rows, or more, were seen in one step: what they cost is no guess.
  bool has_seen(std::int32_t rows) const noexcept;
  // What was seen of the load no longer counts: other threads, or a while without a step.
  void ForgetLoad() noexcept { load_ = last_ratio_ = 1; }
  double cell_ms() const noexcept { return cell_ms_; }  // slope per KV cell at load 1

 private:
  // Where `rows` lies: between knots `low` and `low + 1`, `high_share` of the way.
  struct Place {
    std::size_t low;
    double high_share;
  };
  // Steps of the same rows in a row: the slope per cell is learned from how their time differs.
  struct Stretch {
    std::int32_t num = 0;
    double cells = 0;  // of its first step
    double ms = 0;     // least of its steps
  };

  double CellPart(std::int32_t rows, double cells) const noexcept;
  static Place Locate(double rows) noexcept;
  double Curve(double rows) const noexcept;
  void LearnCurve(const Place& place, double rows, double ms) noexcept;
  void LearnSlope(std::int32_t rows, std::int64_t cells, double ms) noexcept;
  void MakeMonotone() noexcept;

  std::array<double, kNumKnots> knot_ms_{};  // at load 1, no cells; 0: not seen
  std::array<double, kNumKnots> weight_{};   // how many steps speak for it
  std::array<double, kNumKnots> curve_{};    // knot_ms_ filled up, never falling
  double cell_ms_ = 0;
  double cells_per_row_ = 0;  // lately
  double load_ = 1;
  double last_ratio_ = 0;  // of the last step to what it would take at load 1
  std::int64_t num_seen_ = 0;
  bool restored_ = false;

  std::int32_t stretch_rows_ = 0;
  Stretch stretch_;         // being filled
  Stretch last_;            // the one before, same rows; num 0: none
  double slope_above_ = 0;  // sums over pairs of stretches: ms difference * cell difference
  double slope_below_ = 0;  // cell difference squared
};

}  // namespace edgereason
