// How many threads the next step should use: follows the load of the machine.
//
// Spinning threads that wait for a core taken by someone else make a step many times slower than one thread less. The
// governor compares measured step times between counts, tries a neighbour count for a step or two now and then, and
// spends at most a few percent of the time on trying. Where the system tells how busy the cores are (Linux), it asks
// before it tries more threads.
#pragma once

#include <cstdint>
#include <vector>

namespace edgereason {

class ThreadGovernor {
 public:
  // fixed > 0: always that many. `max_threads` is the most that make sense (cores).
  ThreadGovernor(std::int32_t max_threads, std::int32_t fixed);

  std::int32_t num_threads() const noexcept { return current_; }

  // After each step: when it ended, its rows, its time. Returns the number of threads for the next step.
  std::int32_t Observe(double now_ms, std::int32_t rows, double step_ms) noexcept;

  // Cores kept busy by others, as told by the system; negative: unknown. Called by the owner every ~100 ms.
  void SetBusyCores(double cores) noexcept { busy_cores_ = cores; }

 private:
  std::int32_t max_threads_;
  std::int32_t fixed_;
  std::int32_t current_;
  double busy_cores_ = -1;
};

// Reads how many cores were kept busy by other processes since the last call; negative where the system does not tell.
class LoadMeter {
 public:
  LoadMeter();
  ~LoadMeter();
  LoadMeter(const LoadMeter&) = delete;
  LoadMeter& operator=(const LoadMeter&) = delete;
  double BusyCores() noexcept;

 private:
  int stat_fd_ = -1;
  double last_busy_s_ = 0, last_own_s_ = 0, last_wall_s_ = 0;
};

}  // namespace edgereason
