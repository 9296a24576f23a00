#include "policy/threads.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <string_view>
#include <utility>

#ifdef __linux__
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#endif

namespace edgereason {
namespace {

constexpr double kFreshMs = 5000;        // older step times say nothing about the present
constexpr double kSlow = 1.6;            // two such steps in a row are suspicious,
constexpr double kVerySlow = 3.0;        // or one such
constexpr double kClip = 2.0;            // times the recent pace: what one step counts at most
constexpr double kBetter = 0.95;         // a trial must be this much better to be taken up
constexpr double kWorse = 1.1;           // one that is this much worse ends at once
constexpr std::int32_t kTrialSteps = 4;  // compared steps that decide a trial
constexpr std::int32_t kTrialMost = 16;  // steps after which a trial ends undecided
constexpr std::int32_t kHomeSteps = 4;   // steps at home before there is something to compare
constexpr double kTrialShare = 0.04;     // of the time may be lost by trials that fail
constexpr double kLeastWaitMs = 100;
constexpr double kMostWaitUpMs = 2000;
constexpr double kLeastWaitDownMs = 400;
constexpr double kMostWaitDownMs = 30000;
constexpr double kTakenCore = 0.35;  // a core this busy with others' work is not ours
constexpr double kFreeCore = 0.25;   // and one no busier than this is

}  // namespace

ThreadGovernor::ThreadGovernor(std::int32_t max_threads, std::int32_t fixed)
    : max_threads_(std::max(max_threads, 1)),
      fixed_(fixed),
      current_(fixed > 0 ? fixed : max_threads_),
      home_(current_),
      bound_(max_threads_),
      paces_(static_cast<std::size_t>(max_threads_) * kNumBuckets),
      up_{.due_ms = 0, .wait_ms = kLeastWaitMs},
      down_{.due_ms = 0, .wait_ms = kLeastWaitDownMs} {}

void ThreadGovernor::SetBusyCores(double busy, std::int32_t num_cores) noexcept {
  told_ = busy >= 0;
  if (!told_) {
    bound_ = max_threads_;
    return;
  }
  const std::int32_t spare = std::max(0, num_cores - max_threads_);  // cores beyond our threads
  const double taken = std::max(0.0, busy - spare);
  // The system counts in ticks of 10 ms: a core is taken only when two readings in a row say so.
  const double surely_taken = std::min(taken, last_taken_);
  last_taken_ = taken;
  // Between the two limits the bound stays as it is.
  const auto least = max_threads_ - static_cast<std::int32_t>(std::ceil(taken - kFreeCore));
  const auto most = max_threads_ - static_cast<std::int32_t>(std::ceil(surely_taken - kTakenCore));
  const std::int32_t bound = std::max(1, std::clamp(bound_, least, most));
  if (bound > bound_) {  // cores have become free: look at once
    up_ = {.due_ms = now_ms_, .wait_ms = kLeastWaitMs};
  }
  bound_ = bound;
}

std::int32_t ThreadGovernor::Observe(double now_ms, std::int32_t rows, double step_ms) noexcept {
  if (fixed_ > 0 || max_threads_ == 1) return current_;
  const std::int32_t width = std::bit_width(static_cast<std::uint32_t>(std::max(rows, 1)));
  const std::int32_t bucket = std::min(width, kNumBuckets) - 1;
  now_ms_ = now_ms;
  Pace& pace = PaceOf(current_, bucket);
  const bool slow = IsSlow(pace, step_ms);
  Record(&pace, now_ms, step_ms);

  if (home_ > bound_) {
    Settle(bound_);
  } else if (current_ != home_) {
    StepTrial(now_ms, bucket, step_ms);
  } else if (slow && home_ > 1) {
    StartTrial(home_ - 1);
  } else if (++num_home_steps_ >= kHomeSteps) {
    if (home_ < bound_ && now_ms >= up_.due_ms) {
      // The first look goes to all cores known to be free, later ones to the next number.
      const bool jump = told_ && up_.wait_ms <= kLeastWaitMs;
      StartTrial(jump ? bound_ : home_ + 1);
    } else if (home_ > 1 && now_ms >= down_.due_ms) {
      StartTrial(home_ - 1);
    }
  }
  return current_;
}

ThreadGovernor::Pace& ThreadGovernor::PaceOf(std::int32_t threads, std::int32_t bucket) noexcept {
  return paces_[static_cast<std::size_t>((threads - 1) * kNumBuckets + bucket)];
}

bool ThreadGovernor::IsSlow(const Pace& pace, double step_ms) noexcept {
  const bool known = pace.usual_ms > 0;
  num_slow_ = known && step_ms > kSlow * pace.usual_ms ? num_slow_ + 1 : 0;
  // One such step is bad luck where the system says that the cores are ours.
  return num_slow_ >= 2 || (known && !told_ && step_ms > kVerySlow * pace.usual_ms);
}

void ThreadGovernor::Record(Pace* pace, double now_ms, double step_ms) noexcept {
  if (pace->usual_ms == 0) pace->usual_ms = step_ms;
  const bool fresh = pace->recent_ms > 0 && now_ms - pace->seen_at_ms <= kFreshMs;
  // A single hiccup moves it little, a second one more.
  const double clipped_ms = std::min(step_ms, kClip * pace->recent_ms);
  pace->recent_ms = fresh ? pace->recent_ms + 0.3 * (clipped_ms - pace->recent_ms) : step_ms;
  const double rate = step_ms < pace->usual_ms ? 0.2 : 0.01;
  pace->usual_ms += rate * (std::min(step_ms, kSlow * pace->usual_ms) - pace->usual_ms);
  pace->seen_at_ms = now_ms;
}

void ThreadGovernor::StartTrial(std::int32_t threads) noexcept {
  current_ = threads;
  trial_ = {};
  num_slow_ = 0;
}

void ThreadGovernor::StepTrial(double now_ms, std::int32_t bucket, double step_ms) noexcept {
  const Pace& at_home = PaceOf(home_, bucket);
  ++trial_.num_steps;
  const bool known = at_home.recent_ms > 0 && now_ms - at_home.seen_at_ms <= kFreshMs;
  // The first step also wakes or creates threads: it speaks only where it is far off.
  if (known && (trial_.num_steps > 1 || step_ms > kSlow * at_home.recent_ms)) {
    ++trial_.num_compared;
    trial_.tried_ms += step_ms;
    trial_.home_ms += at_home.recent_ms;
  }
  const bool worse = trial_.tried_ms > kWorse * trial_.home_ms;
  if (current_ > bound_ || worse || trial_.num_steps >= kTrialMost) {
    EndTrial(now_ms, false);
  } else if (trial_.num_compared >= kTrialSteps) {
    EndTrial(now_ms, trial_.tried_ms < kBetter * trial_.home_ms);
  }
}

void ThreadGovernor::EndTrial(double now_ms, bool better) noexcept {
  const bool upwards = current_ > home_;
  Timer& onward = upwards ? up_ : down_;
  if (better) {
    // Going on in the same direction is worth a look soon, going back is not.
    Timer& back = upwards ? down_ : up_;
    onward = {.due_ms = now_ms, .wait_ms = kLeastWaitMs};
    back.due_ms = now_ms + back.wait_ms;
    Settle(current_);
    return;
  }
  // Where cores are known to be free a bad step was bad luck; else it may have been the price.
  const double lost_ms = std::max(0.0, trial_.tried_ms - trial_.home_ms);
  const double price_ms = upwards && told_ ? 0.0 : lost_ms / kTrialShare;
  onward.due_ms = now_ms + std::max(onward.wait_ms, price_ms);
  onward.wait_ms = std::min(2 * onward.wait_ms, upwards ? kMostWaitUpMs : kMostWaitDownMs);
  current_ = home_;
}

void ThreadGovernor::Settle(std::int32_t threads) noexcept {
  home_ = threads;
  current_ = threads;
  num_slow_ = 0;
  num_home_steps_ = 0;
}

#ifdef __linux__

namespace {

// One line of /proc/stat, "cpu3 1 2 3 ...": ticks in which the core did not idle, user to steal.
std::int64_t BusyTicks(const char* fields) noexcept {
  constexpr int kIdle = 3;
  constexpr int kIoWait = 4;
  constexpr int kNumFields = 8;  // after these come guest times, which user time has already
  std::int64_t busy = 0;
  for (int field = 0; field < kNumFields; ++field) {
    char* end = nullptr;
    const std::int64_t ticks = std::strtoll(fields, &end, 10);
    if (end == fields) break;
    fields = end;
    if (field != kIdle && field != kIoWait) busy += ticks;
  }
  return busy;
}

double Seconds(const timeval& time) noexcept {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

}  // namespace

LoadMeter::LoadMeter(std::span<const std::int32_t> cores) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  counts_.resize(CPU_SETSIZE);
  for (std::size_t core = 0; core < counts_.size(); ++core) {
    const auto is_core = [core](std::int32_t one) { return std::cmp_equal(one, core); };
    counts_[core] =
        CPU_ISSET(core, &allowed) && (cores.empty() || std::ranges::any_of(cores, is_core));
    if (counts_[core]) ++num_cores_;
  }
  constexpr std::size_t kLineBytes = 160;  // of one core, at most
  const auto num_lines = static_cast<std::size_t>(std::max(1L, sysconf(_SC_NPROCESSORS_CONF))) + 1;
  text_.resize(num_lines * kLineBytes);
  stat_fd_ = open("/proc/stat", O_RDONLY | O_CLOEXEC);
  if (stat_fd_ >= 0 && !Read(&last_)) {
    close(stat_fd_);
    stat_fd_ = -1;
  }
}

LoadMeter::~LoadMeter() {
  if (stat_fd_ >= 0) close(stat_fd_);
}

bool LoadMeter::Read(Reading* reading) noexcept {
  // The machine's own time: what is measured here moves with no other clock.
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  reading->wall_s = std::chrono::duration<double>(since).count();
  rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0) return false;
  reading->own_s = Seconds(usage.ru_utime) + Seconds(usage.ru_stime);

  const ssize_t num_read = pread(stat_fd_, text_.data(), text_.size() - 1, 0);
  if (num_read <= 0) return false;
  text_[static_cast<std::size_t>(num_read)] = '\0';
  std::string_view text(text_.data(), static_cast<std::size_t>(num_read));
  std::int64_t ticks = 0;
  while (text.starts_with("cpu")) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    char* fields = nullptr;
    const auto core = std::strtoull(text.data() + 3, &fields, 10);
    // The first line has no number: it is the sum of all cores.
    if (text[3] != ' ' && core < counts_.size() && counts_[core]) ticks += BusyTicks(fields);
    text.remove_prefix(end + 1);
  }
  reading->busy_s = static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return true;
}

double LoadMeter::BusyCores() noexcept {
  if (stat_fd_ < 0) return -1;
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  const double wall_s = std::chrono::duration<double>(since).count();
  if ((wall_s - last_.wall_s) * 1000 < kWindowMs) return busy_cores_;
  Reading now;
  if (!Read(&now)) return busy_cores_ = -1;
  const double others_s = (now.busy_s - last_.busy_s) - (now.own_s - last_.own_s);
  busy_cores_ = std::max(0.0, others_s / (now.wall_s - last_.wall_s));
  last_ = now;
  return busy_cores_;
}

#else

LoadMeter::LoadMeter(std::span<const std::int32_t> /*cores*/) {}
LoadMeter::~LoadMeter() = default;
bool LoadMeter::Read(Reading* /*reading*/) noexcept { return false; }
double LoadMeter::BusyCores() noexcept { return -1; }

#endif

}  // namespace edgereason
