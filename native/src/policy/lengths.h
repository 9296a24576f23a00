// How long answers are, learned while they are given: what must be kept free of a deadline's time.
//
//   LengthModel lengths;
//   lengths.Observe(12, /*cut=*/false);   // an answer of twelve tokens
//   lengths.Observe(40, /*cut=*/true);    // one that was cut at forty: it would have been longer
//   lengths.Quantile(0.9, /*given=*/5);   // nine of ten that have five tokens end by here
//
// A log-normal with a prior, which beats sketches of the same size for the first hundred lengths. A
// length that was cut is a lower bound: it counts as long as such lengths are on average under what
// is known. Taken as a length it would make the next answers shorter, and so on. What is old
// fades, so that a model that begins to give long answers is believed after a dozen.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>

namespace edgereason {

class LengthModel {
 public:
  void Observe(std::int32_t num_tokens, bool cut) noexcept;

  // The length that a share `q` of answers does not exceed, among those with at least `given`
  // tokens; more than `given`.
  double Quantile(double q, std::int32_t given = 0) const noexcept;

  // What was learned, to be kept: weight, mean and spread of the logarithms. A weight of 0 is
  // nothing.
  using State = std::array<double, 3>;
  State state() const noexcept { return {weight_, mean_, spread_}; }
  // Starts from what was kept; numbers that make no sense are ignored.
  void Restore(const State& state) noexcept;

 private:
  double weight_ = 0;  // of what was observed: its number, fading
  double mean_ = 0;    // of the logarithms observed
  double spread_ = 0;  // sum of squares around it
};

// One model for each kind of answer; the kind that nobody knows follows all of them.
class Lengths {
 public:
  static constexpr std::int32_t kAny = 0;

  void Observe(std::int32_t kind, std::int32_t num_tokens, bool cut);
  // As LengthModel::Quantile, of that kind; of all where nothing is known of it.
  double Quantile(std::int32_t kind, double q, std::int32_t given) const noexcept;

  const std::unordered_map<std::int32_t, LengthModel>& all() const noexcept { return models_; }
  void Restore(std::int32_t kind, const LengthModel::State& state);

 private:
  std::unordered_map<std::int32_t, LengthModel> models_{{kAny, {}}};
};

}  // namespace edgereason
