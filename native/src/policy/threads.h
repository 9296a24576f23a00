// How many threads the next step should use: follows the load of the machine.
//
//   ThreadGovernor governor(/*max_threads=*/4, /*fixed=*/0);
//   LoadMeter meter;
//   engine.SetThreads(governor.num_threads());
//   ... decode ...
//   governor.SetBusyCores(meter.BusyCores(), meter.num_cores());  // every 100 ms or so
//   engine.SetThreads(governor.Observe(clock.NowMs(), rows, step_ms));
//
// Spinning threads that wait for a core taken by someone else make a step many times slower than
// one thread less. The governor climbs: it tries a neighbour count for a few steps, compares step
// times at like numbers of rows, and spends at most a few percent of the time on trying. Steps far
// slower than usual make it try fewer threads at once. Where the system tells how busy the cores
// are (Linux), that bounds the count from above: more threads are only tried on cores that are
// free.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace edgereason {

class ThreadGovernor {
 public:
  // fixed > 0: always that many. `max_threads` is the most that make sense (cores).
  ThreadGovernor(std::int32_t max_threads, std::int32_t fixed);

  std::int32_t num_threads() const noexcept { return current_; }

  // After each step: when it ended, its rows, its time. Returns the number of threads for the next
  // step.
  std::int32_t Observe(double now_ms, std::int32_t rows, double step_ms) noexcept;

  // Cores kept busy by others, of `num_cores` that this process may use (0: max_threads), as told
  // by the system; negative: unknown. Called by the owner every ~100 ms.
  void SetBusyCores(double busy, std::int32_t num_cores = 0) noexcept;

 private:
  static constexpr std::int32_t kNumBuckets = 12;  // rows 1, 2-3, 4-7, ...

  // Step times at one thread count and one bucket of rows.
  struct Pace {
    double recent_ms = 0;   // follows within a few steps; 0: never seen
    double usual_ms = 0;    // lowest that holds; follows slowly upwards
    double seen_at_ms = 0;  // when it was last seen
  };
  struct Trial {
    std::int32_t num_steps = 0;
    std::int32_t num_compared = 0;
    double tried_ms = 0;  // sum over the steps compared
    double home_ms = 0;   // what they would have taken at home
  };
  // When a trial in one direction is due, and how long to wait after the next that fails.
  struct Timer {
    double due_ms = 0;
    double wait_ms = 0;
  };

  Pace& PaceOf(std::int32_t threads, std::int32_t bucket) noexcept;
  bool IsSlow(const Pace& pace, double step_ms) noexcept;
  void Record(Pace* pace, double now_ms, double step_ms) noexcept;
  void StepTrial(double now_ms, std::int32_t bucket, double step_ms) noexcept;
  void EndTrial(double now_ms, bool better) noexcept;
  void StartTrial(std::int32_t threads) noexcept;
  void Settle(std::int32_t threads) noexcept;

  std::int32_t max_threads_;
  std::int32_t fixed_;
  std::int32_t current_;             // of the next step
  std::int32_t home_;                // where a trial that fails comes back to
  std::int32_t bound_;               // the most that free cores allow
  bool told_ = false;                // the system tells how busy the cores are
  double last_taken_ = 0;            // cores that others kept busy, at the reading before
  std::vector<Pace> paces_;          // [max_threads, kNumBuckets]
  std::int32_t num_slow_ = 0;        // steps in a row
  std::int32_t num_home_steps_ = 0;  // since it settled
  Trial trial_;
  Timer up_;
  Timer down_;
  double now_ms_ = 0;
};

// Reads how many cores other processes keep busy, among those that count.
class LoadMeter {
 public:
  // `cores`: those that count; empty: all that this process may use.
  explicit LoadMeter(std::span<const std::int32_t> cores = {});
  ~LoadMeter();
  LoadMeter(const LoadMeter&) = delete;
  LoadMeter& operator=(const LoadMeter&) = delete;

  // Over the time since the last reading, at least kWindowMs long: a call that comes earlier gets
  // the value before. Negative where the system does not tell, and before the first window is over.
  double BusyCores() noexcept;

  // Of the cores that count; 0 where the system does not tell.
  std::int32_t num_cores() const noexcept { return num_cores_; }

  static constexpr double kWindowMs = 90;

 private:
  struct Reading {
    double busy_s = 0;  // of all processes, on the cores that count
    double own_s = 0;
    double wall_s = 0;
  };
  bool Read(Reading* reading) noexcept;

  int stat_fd_ = -1;
  std::int32_t num_cores_ = 0;
  std::vector<bool> counts_;  // by number of the core
  std::vector<char> text_;    // of /proc/stat
  Reading last_;
  double busy_cores_ = -1;
};

}  // namespace edgereason
