// Time, passed in. Deadlines are tested on a clock that the test moves.
#pragma once

#include <atomic>
#include <chrono>

namespace edgereason {

// Milliseconds since some fixed point; never goes back. Called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual double NowMs() const noexcept = 0;
};

class SteadyClock final : public Clock {
 public:
  double NowMs() const noexcept override {
    using Ms = std::chrono::duration<double, std::milli>;
    return Ms(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
};

// Stands still until it is advanced. The scripted engine advances it by the cost of each step.
class ManualClock final : public Clock {
 public:
  double NowMs() const noexcept override { return now_ms_.load(std::memory_order_acquire); }
  void Advance(double ms) noexcept {
    now_ms_.store(now_ms_.load(std::memory_order_relaxed) + ms, std::memory_order_release);
  }

 private:
  std::atomic<double> now_ms_{0.0};
};

}  // namespace edgereason
