#include "policy/cost.h"

#include <algorithm>
#include <cmath>

namespace edgereason {
namespace {

constexpr double kLeastMs = 1e-6;     // a scripted step may cost nothing
constexpr double kMature = 4;         // steps after which a knot is trusted
constexpr double kLoadRate = 0.45;    // share of the way the load goes in one step
constexpr double kLoadClip = 3;       // one step raises the aim of the load by this factor at most
constexpr double kLoadJump = 1.5;     // a load this many times higher is taken over at once
constexpr double kCurveRate = 0.03;   // share of the way a mature knot goes in one step
constexpr double kUsualRate = 0.005;  // how fast a lasting load becomes the usual
constexpr double kCellsRate = 0.1;
constexpr double kLeastCurve = 0.25;     // the cells never explain more than the rest of a step
constexpr std::int32_t kStretch = 16;    // steps
constexpr std::int32_t kSlopeRows = 16;  // rows at most where each row is taken to read its cells
constexpr double kSlopeJump = 0.3;       // a larger relative difference is the load, not the slope
constexpr double kSlopeDoubt = 16384;    // 128 cells squared: smaller differences say little
constexpr double kSlopeMemory = 0.995;   // per stretch
constexpr double kSlopeTrust = 4 * kSlopeDoubt;  // what a slope that was measured before counts as

double KnotRows(std::size_t knot) noexcept { return static_cast<double>(std::int64_t{1} << knot); }

}  // namespace

void CostModel::Observe(std::int32_t rows, std::int64_t cells, double ms) noexcept {
  if (rows < 1 || cells < 0 || !std::isfinite(ms)) return;
  ms = std::max(ms, kLeastMs);
  const auto num_rows = static_cast<double>(rows);
  const Place place = Locate(num_rows);
  const double cell_part = CellPart(rows, static_cast<double>(cells));
  const double usual_ms = ms / load_;
  LearnCurve(place, num_rows, std::max(usual_ms - cell_part, kLeastCurve * usual_ms));

  const double ratio = ms / (Curve(num_rows) + cell_part);
  const double sure = std::min(ratio, last_ratio_);  // one step may be an outlier, two are not
  last_ratio_ = ratio;
  if (sure > kLoadJump * load_) {
    load_ = sure;
  } else {
    load_ += kLoadRate * (std::min(ratio, kLoadClip * load_) - load_);
  }
  LearnSlope(rows, cells, ms);

  // What lasts becomes the usual: every knot moves, so that the prediction stays as it is. The
  // logarithm of the load goes the share kUsualRate of its way; this fraction is near it.
  const double shift = 1 + kUsualRate * 2 * (load_ - 1) / (load_ + 1);
  for (double& knot : knot_ms_) knot *= shift;
  for (double& knot : curve_) knot *= shift;
  cell_ms_ *= shift;
  slope_above_ *= shift;
  load_ /= shift;
  ++num_seen_;
}

void CostModel::Restore(std::span<const double> knot_ms, double cell_ms) noexcept {
  *this = CostModel();
  for (std::size_t knot = 0; knot < std::min<std::size_t>(kNumKnots, knot_ms.size()); ++knot) {
    if (!std::isfinite(knot_ms[knot]) || knot_ms[knot] <= 0) continue;
    knot_ms_[knot] = std::max(knot_ms[knot], kLeastMs);
    weight_[knot] = kMature;
    restored_ = true;
  }
  if (!restored_) return;
  if (std::isfinite(cell_ms) && cell_ms > 0) {
    cell_ms_ = cell_ms;
    slope_below_ = kSlopeTrust;
    slope_above_ = cell_ms * (kSlopeTrust + kSlopeDoubt);
  }
  MakeMonotone();
}

double CostModel::StepMs(std::int32_t rows, std::int64_t cells) const noexcept {
  const auto num_rows = static_cast<double>(std::max(rows, 1));
  if (!known()) return kUnknownStepMs * num_rows;
  const double num_cells =
      cells == kLately ? cells_per_row_ * num_rows : static_cast<double>(cells);
  return load_ * (Curve(num_rows) + CellPart(rows, num_cells));
}

// At load 1. A step of many rows computes on cells that it has read once.
double CostModel::CellPart(std::int32_t rows, double cells) const noexcept {
  return cell_ms_ * cells * std::min(1.0, static_cast<double>(kSlopeRows) / std::max(rows, 1));
}

bool CostModel::has_seen(std::int32_t rows) const noexcept {
  std::size_t knot = 0;
  while (knot + 1 < kNumKnots && 2 * KnotRows(knot) <= rows) ++knot;
  return std::any_of(weight_.begin() + static_cast<std::ptrdiff_t>(knot), weight_.end(),
                     [](double weight) { return weight > 0; });
}

std::int32_t CostModel::RowsWithin(double ms, std::int32_t max_rows) const noexcept {
  std::int32_t fits = 1;
  std::int32_t too_many = std::max(max_rows, 1) + 1;
  while (too_many - fits > 1) {
    const std::int32_t middle = fits + (too_many - fits) / 2;
    (StepMs(middle) <= ms ? fits : too_many) = middle;
  }
  return fits;
}

CostModel::Place CostModel::Locate(double rows) noexcept {
  std::size_t low = 0;
  while (low + 2 < kNumKnots && KnotRows(low + 1) <= rows) ++low;
  const double share = (rows - KnotRows(low)) / KnotRows(low);
  return {low, std::min(share, 1.0)};
}

double CostModel::Curve(double rows) const noexcept {
  const double most = KnotRows(kNumKnots - 1);
  if (rows > most) return curve_[kNumKnots - 1] * rows / most;
  const Place place = Locate(rows);
  const double low = curve_[place.low];
  return low + place.high_share * (curve_[place.low + 1] - low);
}

void CostModel::LearnCurve(const Place& place, double rows, double ms) noexcept {
  if (rows > KnotRows(kNumKnots - 1)) ms *= KnotRows(kNumKnots - 1) / rows;
  rows = std::min(rows, KnotRows(kNumKnots - 1));
  const double expected = Curve(rows);
  for (const std::size_t knot : {place.low, place.low + 1}) {
    const double share = knot == place.low ? 1.0 - place.high_share : place.high_share;
    if (share <= 0) continue;
    // What this step alone would say about the knot: of more rows the worst, in proportion.
    const double times = KnotRows(knot) / rows;
    const double told = ms * std::max(times, std::sqrt(times));
    if (weight_[knot] == 0) {
      knot_ms_[knot] = told;
    } else if (weight_[knot] < kMature) {
      // First steps are late (cold caches, pages not read yet), never early.
      if (told < knot_ms_[knot]) knot_ms_[knot] += share * (told - knot_ms_[knot]);
    } else {
      const double error = std::clamp(ms / expected, 0.5, 1.5) - 1.0;
      knot_ms_[knot] *= 1.0 + kCurveRate * share * error;
    }
    weight_[knot] = std::min(weight_[knot] + share, kMature);
  }
  MakeMonotone();
}

void CostModel::LearnSlope(std::int32_t rows, std::int64_t cells, double ms) noexcept {
  if (rows > kSlopeRows) return;
  const double per_row = static_cast<double>(cells) / rows;
  cells_per_row_ += (num_seen_ == 0 ? 1.0 : kCellsRate) * (per_row - cells_per_row_);
  const auto num_cells = static_cast<double>(cells);
  if (rows != stretch_rows_) {
    stretch_rows_ = rows;
    stretch_ = {};
    last_ = {};
  }
  // A new request: what it reads is not to be mixed with what the one before read.
  const double expected_cells = stretch_.cells + stretch_.num * rows;
  if (std::abs(num_cells - expected_cells) > kStretch * rows) stretch_ = {};
  if (stretch_.num == 0) stretch_ = {.num = 0, .cells = num_cells, .ms = ms};
  stretch_.ms = std::min(stretch_.ms, ms);
  if (++stretch_.num < kStretch) return;
  const double step_ms = stretch_.ms - last_.ms;
  if (last_.num > 0 && std::abs(step_ms) <= kSlopeJump * last_.ms) {
    const double step_cells = stretch_.cells - last_.cells;
    slope_above_ = kSlopeMemory * slope_above_ + step_ms * step_cells;
    slope_below_ = kSlopeMemory * slope_below_ + step_cells * step_cells;
    cell_ms_ = std::max(0.0, slope_above_ / (slope_below_ + kSlopeDoubt));
  }
  last_ = stretch_;
  stretch_ = {};
}

// Fills the knots not seen: below the first by the square root of rows, above the last in
// proportion, between two on the straight line.
void CostModel::MakeMonotone() noexcept {
  std::size_t seen = kNumKnots;  // the last knot seen so far; kNumKnots: none
  for (std::size_t knot = 0; knot < kNumKnots; ++knot) {
    if (weight_[knot] == 0) continue;
    if (seen == kNumKnots) {
      curve_[knot] = knot_ms_[knot];
      for (std::size_t k = 0; k < knot; ++k) {
        curve_[k] = curve_[knot] * std::sqrt(KnotRows(k) / KnotRows(knot));
      }
    } else {
      curve_[knot] = std::max(knot_ms_[knot], curve_[seen]);
      for (std::size_t k = seen + 1; k < knot; ++k) {
        const double share = (KnotRows(k) - KnotRows(seen)) / (KnotRows(knot) - KnotRows(seen));
        curve_[k] = curve_[seen] + share * (curve_[knot] - curve_[seen]);
      }
    }
    seen = knot;
  }
  if (seen == kNumKnots) return;
  for (std::size_t k = seen + 1; k < kNumKnots; ++k) {
    curve_[k] = curve_[seen] * KnotRows(k) / KnotRows(seen);
  }
}

}  // namespace edgereason
