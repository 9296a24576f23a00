// How much of the time is taken by requests with deadlines that keep coming: what is left for
// those that are there.
#pragma once

namespace edgereason {

class Arrivals {
 public:
  // A request came whose prompt and answer take `owed_ms`.
  void Count(double now_ms, double owed_ms) noexcept;

  // How much longer owed work takes than alone, since requests that are yet to come, with earlier
  // deadlines, take their share of the time; 1 to `most`.
  double Slack(double now_ms, double most) const noexcept;

 private:
  double share_ = 0;  // of the time, taken by owed work that arrived lately
  double at_ms_ = 0;  // when that was true
};

}  // namespace edgereason
