// What a step of the scheduler takes besides the engine and the sampler, on an engine that takes no
// time but sweeps the caches as a model does.
//
//   step_bench [--requests 1] [--sweep 64] [--steps 200] [--turns 15] [--deadline 0]
//
// `sweep`: MiB read between two steps; 0 leaves the caches warm. `deadline`: 1 gives each request a
// deadline, far off. Prints microseconds a step, the median and the least of the turns.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "edgereason/scheduler.h"
#include "edgereason/scripted.h"

namespace edgereason {
namespace {

class SweepingEngine final : public ScriptedEngine {
 public:
  explicit SweepingEngine(std::size_t mib)
      : ScriptedEngine(
            {.rules = {{.after = "Q?", .reply = std::string(4096, 'x')}}, .num_cells = 16384}),
        swept_(mib << 17, 1) {}

  Status Decode(std::span<const Row> rows) noexcept override {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < swept_.size(); i += 8) sum = sum + swept_[i];  // a cache line each
    sum_ = sum;
    return ScriptedEngine::Decode(rows);
  }

 private:
  std::vector<std::uint64_t> swept_;
  volatile std::uint64_t sum_ = 0;
};

struct Options {
  std::int32_t requests = 1, sweep = 64, steps = 200, turns = 15, deadline = 0;
};

Options Parse(int argc, char** argv) {
  Options options;
  const std::pair<std::string_view, std::int32_t*> known[] = {{"--requests", &options.requests},
                                                              {"--sweep", &options.sweep},
                                                              {"--steps", &options.steps},
                                                              {"--turns", &options.turns},
                                                              {"--deadline", &options.deadline}};
  for (int i = 1; i + 1 < argc; i += 2) {
    for (const auto& [name, value] : known) {
      if (name == argv[i]) *value = std::atoi(argv[i + 1]);
    }
  }
  return options;
}

double TurnUs(Scheduler* scheduler, const ScriptedEngine& engine, const Options& options) {
  std::vector<SequenceId> ids;
  for (std::int32_t i = 0; i < options.requests; ++i) {
    SequenceOptions asked;
    asked.arrival_ms = scheduler->NowMs();
    if (options.deadline > 0) asked.deadline_ms = asked.arrival_ms + 1e7;
    ids.push_back(scheduler->Open(asked));
    Phase think{.role = Role::kThink, .fresh = engine.Tokenize("Q?", true)};
    think.shut = {"</think>"};
    think.close = engine.Tokenize("</think>", true);
    think.budget = options.steps;
    Phase answer{.role = Role::kAnswer};
    answer.budget = 1;
    scheduler->Run(ids.back(), {think, answer});
  }
  for (int i = 0; i < 3; ++i) scheduler->Step();  // their prompts
  const SchedulerStats before = scheduler->stats();
  for (std::int32_t i = 0; i + 8 < options.steps; ++i) scheduler->Step();
  const SchedulerStats after = scheduler->stats();
  for (const SequenceId id : ids) scheduler->Close(id, false);
  while (scheduler->Step()) {
  }
  for (const Event& event : scheduler->Take(0, 1 << 16)) delete event.result;
  return 1000 * (after.overhead_ms - before.overhead_ms) /
         static_cast<double>(after.num_steps - before.num_steps);
}

int Main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  auto engine = std::make_shared<SweepingEngine>(static_cast<std::size_t>(options.sweep));
  Scheduler scheduler(engine, std::make_shared<SteadyClock>(), {.num_threads = 1});
  scheduler.WarmUp();
  std::vector<double> turns_us;
  for (std::int32_t i = 0; i < options.turns; ++i) {
    turns_us.push_back(TurnUs(&scheduler, *engine, options));
  }
  std::ranges::sort(turns_us);
  std::printf("%d requests, %d MiB swept, deadline %d: %.2f us a step, least %.2f\n",
              options.requests, options.sweep, options.deadline, turns_us[turns_us.size() / 2],
              turns_us.front());
  return 0;
}

}  // namespace
}  // namespace edgereason

int main(int argc, char** argv) { return edgereason::Main(argc, argv); }
