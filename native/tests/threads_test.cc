#include "policy/threads.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <random>
#include <vector>

#include "check.h"

namespace edgereason {
namespace {

// A machine of two cores as it was measured with SmolLM2, in tokens per second on 1 and 2 threads:
// idle 95 and 142; one core taken by somebody else 95 and 40; both taken 50 and 7.
class TwoCores {
 public:
  // `tick_noise`: of the system's readings, in cores.
  explicit TwoCores(std::uint32_t seed, double tick_noise = 0.1)
      : random_(seed), ticks_(0, tick_noise) {}

  // A step on `threads` threads while others keep `busy` cores busy.
  double StepMs(int busy, std::int32_t threads) {
    const double jitter = std::normal_distribution<double>(1.0, 0.03)(random_);
    const double chance = std::uniform_real_distribution<double>()(random_);
    if (threads == 1) return (busy < 2 || chance < 0.8 ? 10.5 : 58.0) * jitter;
    if (busy == 0) return (chance < 0.995 ? 7.0 : 40.0) * jitter;  // a hiccup now and then
    if (busy == 1) return (chance < 0.6 ? 12.0 : chance < 0.95 ? 33.0 : 125.0) * jitter;
    return (chance < 0.7 ? 70.0 : 310.0) * jitter;
  }

  // The mean of the above: policies are compared by it, so that a lucky draw does not count.
  static double MeanMs(int busy, std::int32_t threads) {
    constexpr std::array kOneThread = {10.5, 10.5, 20.0};
    constexpr std::array kTwoThreads = {7.165, 25.0, 142.0};
    const auto i = static_cast<std::size_t>(busy);
    return threads == 1 ? kOneThread[i] : kTwoThreads[i];
  }

  // What the system tells: others get their fair share of the cores, counted in ticks.
  double BusyCores(int busy, std::int32_t threads) {
    const double share = std::min(1.0, 2.0 / (busy + threads));
    return std::max(0.0, busy * share + ticks_(random_));
  }

 private:
  std::mt19937 random_;
  std::normal_distribution<double> ticks_;
};

// Throughput as a share of what the best fixed number of threads would have had.
class Share {
 public:
  void Add(int busy, std::int32_t threads) {
    best_ms_ += std::min(TwoCores::MeanMs(busy, 1), TwoCores::MeanMs(busy, 2));
    spent_ms_ += TwoCores::MeanMs(busy, threads);
  }
  double value() const { return best_ms_ / spent_ms_; }

 private:
  double best_ms_ = 0;
  double spent_ms_ = 0;
};

struct Stretch {
  int busy;
  Share whole;
  Share settled;  // after its first second
};

struct Conditions {
  bool metered = true;
  double tick_noise = 0.1;
  double growth = 0;  // of the step time in a second: a context that grows
};

// Five seconds of each number of busy cores, one after the other.
std::vector<Stretch> Simulate(const std::vector<int>& busy_cores, const Conditions& conditions,
                              std::uint32_t seed) {
  TwoCores machine(seed, conditions.tick_noise);
  ThreadGovernor governor(2, 0);
  double now_ms = 0;
  double next_meter_ms = 0;
  std::vector<Stretch> stretches;
  for (const int busy : busy_cores) {
    const double begin_ms = 5000.0 * static_cast<double>(stretches.size());
    Stretch stretch{.busy = busy, .whole = {}, .settled = {}};
    while (now_ms < begin_ms + 5000) {
      const std::int32_t threads = governor.num_threads();
      const double step_ms =
          machine.StepMs(busy, threads) * (1 + conditions.growth * now_ms / 1000);
      now_ms += step_ms;
      stretch.whole.Add(busy, threads);
      if (now_ms > begin_ms + 1000) stretch.settled.Add(busy, threads);
      if (conditions.metered && now_ms >= next_meter_ms) {
        governor.SetBusyCores(machine.BusyCores(busy, threads), 2);
        next_meter_ms = now_ms + 100;
      }
      governor.Observe(now_ms, 1, step_ms);
    }
    stretches.push_back(stretch);
  }
  return stretches;
}

const std::vector<int> kChanges = {0, 1, 2, 1, 0, 2, 0, 1, 0, 0, 1, 1};

TEST(WithTheMeterEveryStretchIsNearTheBestFixedNumber) {
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    for (const Stretch& stretch : Simulate(kChanges, {}, seed)) {
      CHECK(stretch.whole.value() >= 0.9);
      CHECK(stretch.settled.value() >= 0.93);
    }
  }
}

TEST(NoisyReadingsCostLittle) {
  double sum = 0;
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    sum += Simulate({0}, {.tick_noise = 0.2}, seed).front().settled.value() / 50;
  }
  CHECK(sum >= 0.99);
}

// Each step reads more KV than the one before: in 20 s they take twice as long.
TEST(AContextThatGrowsIsNoBusyCore) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    for (const Stretch& stretch : Simulate({0, 1, 0, 2}, {.growth = 0.05}, seed)) {
      CHECK(stretch.settled.value() >= 0.97);
    }
  }
}

TEST(WithoutTheMeterItIsSoOnAverage) {
  const std::vector<int> changes = {0, 1, 0, 1, 1, 0, 0, 1, 0, 1};
  std::array<double, 2> sum{};
  std::array<int, 2> num{};
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    for (const Stretch& stretch : Simulate(changes, {.metered = false}, seed)) {
      sum[static_cast<std::size_t>(stretch.busy)] += stretch.whole.value();
      ++num[static_cast<std::size_t>(stretch.busy)];
    }
  }
  CHECK(sum[0] / num[0] >= 0.9);
  CHECK(sum[1] / num[1] >= 0.95);
}

TEST(WithoutTheMeterTryingIsCheapWhileACoreIsTaken) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const std::vector<Stretch> stretches = Simulate({1, 1, 1, 1, 1, 1}, {.metered = false}, seed);
    for (std::size_t i = 1; i < stretches.size(); ++i) CHECK(stretches[i].whole.value() >= 0.9);
  }
}

// Steps of `ms` until `num` are over, or until the number of threads changes. Returns how many.
int Feed(ThreadGovernor* governor, double* now_ms, double ms, int num) {
  const std::int32_t before = governor->num_threads();
  for (int i = 1; i <= num; ++i) {
    *now_ms += ms;
    if (governor->Observe(*now_ms, 1, ms) != before) return i;
  }
  return num;
}

// Past its first trials, at home on two threads.
ThreadGovernor Settled(double* now_ms) {
  ThreadGovernor governor(2, 0);
  for (int i = 0; i < 3000; ++i) {
    const double ms = governor.num_threads() == 2 ? 7.0 : 10.5;
    *now_ms += ms;
    governor.Observe(*now_ms, 1, ms);
  }
  CHECK_EQ(governor.num_threads(), 2);
  return governor;
}

TEST(AFixedNumberStays) {
  ThreadGovernor governor(4, 3);
  CHECK_EQ(governor.num_threads(), 3);
  governor.SetBusyCores(4, 4);
  double now_ms = 0;
  CHECK_EQ(Feed(&governor, &now_ms, 500, 50), 50);
  CHECK_EQ(governor.num_threads(), 3);
}

TEST(OneCoreIsOneThread) {
  ThreadGovernor governor(1, 0);
  double now_ms = 0;
  CHECK_EQ(Feed(&governor, &now_ms, 500, 50), 50);
  CHECK_EQ(governor.num_threads(), 1);
}

TEST(ItStartsWithAllCores) { CHECK_EQ(ThreadGovernor(4, 0).num_threads(), 4); }

TEST(FarSlowerStepsMakeItTryFewerAtOnce) {
  double now_ms = 0;
  ThreadGovernor twice = Settled(&now_ms);
  CHECK_EQ(Feed(&twice, &now_ms, 12.0, 10), 2);
  ThreadGovernor once = Settled(&now_ms);
  CHECK_EQ(Feed(&once, &now_ms, 200.0, 10), 1);
  CHECK_EQ(once.num_threads(), 1);
}

TEST(OneHiccupDoesNotKeepItDown) {
  double now_ms = 0;
  ThreadGovernor governor = Settled(&now_ms);
  CHECK_EQ(Feed(&governor, &now_ms, 200.0, 1), 1);
  CHECK_EQ(governor.num_threads(), 1);
  CHECK(Feed(&governor, &now_ms, 10.5, 100) <= 6);
  CHECK_EQ(governor.num_threads(), 2);
}

// Two readings in a row, as a core that is taken gives them.
void Tell(ThreadGovernor* governor, double busy, std::int32_t num_cores) {
  governor->SetBusyCores(busy, num_cores);
  governor->SetBusyCores(busy, num_cores);
}

TEST(BusyCoresLowerTheNumberAtOnce) {
  ThreadGovernor governor(8, 0);
  Tell(&governor, 2.9, 8);
  CHECK_EQ(governor.Observe(10, 1, 10), 5);
  Tell(&governor, 8.0, 8);
  CHECK_EQ(governor.Observe(20, 1, 10), 1);
}

TEST(OneReadingIsNoBusyCore) {
  ThreadGovernor governor(8, 0);
  governor.SetBusyCores(2.9, 8);
  CHECK_EQ(governor.Observe(10, 1, 10), 8);
  governor.SetBusyCores(0.1, 8);
  CHECK_EQ(governor.Observe(20, 1, 10), 8);
  governor.SetBusyCores(3.9, 8);
  governor.SetBusyCores(1.9, 8);
  CHECK_EQ(governor.Observe(30, 1, 10), 6);  // both said as much
}

TEST(FreeCoresAreTriedAtOnce) {
  double now_ms = 0;
  ThreadGovernor governor = Settled(&now_ms);
  Tell(&governor, 1.0, 2);
  Feed(&governor, &now_ms, 25.0, 1);
  CHECK_EQ(governor.num_threads(), 1);
  CHECK_EQ(Feed(&governor, &now_ms, 10.5, 200), 200);  // nothing is tried on a core that is taken
  governor.SetBusyCores(0.1, 2);
  CHECK_EQ(Feed(&governor, &now_ms, 10.5, 200), 1);
  CHECK_EQ(Feed(&governor, &now_ms, 7.0, 50), 50);
  CHECK_EQ(governor.num_threads(), 2);
}

TEST(AllFreeCoresAreTriedTogether) {
  ThreadGovernor governor(8, 0);
  double now_ms = 0;
  Tell(&governor, 7.0, 8);
  Feed(&governor, &now_ms, 60.0, 1);
  CHECK_EQ(governor.num_threads(), 1);
  Feed(&governor, &now_ms, 60.0, 20);
  governor.SetBusyCores(2.0, 8);
  CHECK_EQ(Feed(&governor, &now_ms, 60.0, 20), 1);
  CHECK_EQ(governor.num_threads(), 6);
}

TEST(BetweenFreeAndTakenTheBoundStays) {
  ThreadGovernor governor(2, 0);
  Tell(&governor, 0.3, 2);
  CHECK_EQ(governor.Observe(1, 1, 7.0), 2);
  Tell(&governor, 0.4, 2);
  CHECK_EQ(governor.Observe(2, 1, 7.0), 1);
  Tell(&governor, 0.3, 2);
  CHECK_EQ(governor.Observe(3, 1, 10.5), 1);
}

TEST(CoresBeyondTheThreadsMayBeBusy) {
  ThreadGovernor governor(4, 0);
  Tell(&governor, 4.1, 8);
  CHECK_EQ(governor.Observe(10, 1, 10), 4);
  Tell(&governor, 6.0, 8);
  CHECK_EQ(governor.Observe(20, 1, 10), 2);
}

TEST(MoreThreadsThatBringNothingAreLeft) {
  // Four cores, but the memory is busy with three: the fourth only costs.
  ThreadGovernor governor(4, 0);
  constexpr std::array kMs = {30.0, 16.0, 10.0, 12.0};
  double now_ms = 0;
  double at_three_ms = 0;
  for (int i = 0; i < 3000; ++i) {
    const double ms = kMs[static_cast<std::size_t>(governor.num_threads() - 1)];
    if (governor.num_threads() == 3) at_three_ms += ms;
    now_ms += ms;
    governor.Observe(now_ms, 1, ms);
  }
  CHECK(at_three_ms / now_ms > 0.9);
}

TEST(TheMeterLeavesOutOurOwnWork) {
  using Seconds = std::chrono::duration<double>;
  LoadMeter meter;
  if (meter.num_cores() == 0) SKIP("the system does not tell how busy its cores are");
  CHECK_EQ(meter.BusyCores(), -1.0);  // the first window is not over
  const auto begin = std::chrono::steady_clock::now();
  const std::clock_t own_begin = std::clock();
  double wall_s = 0;
  while (wall_s < 0.5) wall_s = Seconds(std::chrono::steady_clock::now() - begin).count();
  const double own_cores = static_cast<double>(std::clock() - own_begin) / CLOCKS_PER_SEC / wall_s;
  const double busy = meter.BusyCores();
  CHECK(busy >= 0);
  CHECK(busy <= meter.num_cores() - own_cores + 0.15);
  CHECK_EQ(meter.BusyCores(), busy);  // the next window is not over
}

}  // namespace
}  // namespace edgereason
