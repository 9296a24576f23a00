// How much of a request's time is taken by those that come after it and are due before it: what it
// must keep free for requests that are yet to come.
//
//   interference.Count(now_ms, /*waited_ms=*/20, /*taken_ms=*/5);  // a step: of 20 ms lost 5
//   interference.Slack(now_ms, 3);                                 // 1.33
//
// Counts work that was really done, for others. A request that is alone, or that comes after the
// one before it has ended, loses nothing and keeps nothing free.
#pragma once

namespace edgereason {

class Interference {
 public:
  // A step in which requests with deadlines waited `waited_ms`, all added up, and of it lost
  // `taken_ms` to prompts and answers of later and more urgent ones.
  void Count(double now_ms, double waited_ms, double taken_ms) noexcept;

  // How much longer owed work will take than alone; 1 to `most`.
  double Slack(double now_ms, double most) const noexcept;

 private:
  double waited_ms_ = 0;  // fading
  double taken_ms_ = 0;
  double at_ms_ = 0;  // when that was true
};

}  // namespace edgereason
