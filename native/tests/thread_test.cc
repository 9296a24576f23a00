// The scheduler with its own thread, asked from several others. Meant for the thread sanitizer.
#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include "check.h"
#include "edgereason/scheduler.h"
#include "edgereason/scripted.h"

namespace edgereason {
namespace {

constexpr int kCallers = 4;
constexpr int kEach = 40;

ScriptedOptions Model() {
  return {.rules = {{.after = "Q?", .reply = "think and think and think and think"},
                    {.after = "</think>", .reply = "42"}},
          .max_seqs = 8};
}

}  // namespace

TEST(EveryRequestOfEveryThreadEnds) {
  auto engine = std::make_shared<ScriptedEngine>(Model());
  Scheduler scheduler(engine, std::make_shared<SteadyClock>(), {});
  scheduler.Start();
  std::atomic<int> num_ended{0};
  std::atomic<bool> failed{false};
  std::thread reader([&] {
    while (num_ended < kCallers * kEach) {
      for (const Event& event : scheduler.Take(50, 64)) {
        if (event.kind == Event::Kind::kFailed) failed = true;
        if (event.kind != Event::Kind::kPhaseEnd) continue;
        delete event.result;
        if (!event.last) continue;
        ++num_ended;
        scheduler.Close(event.id, event.id % 3 == 0);
      }
    }
  });
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < kEach; ++i) {
        const double now_ms = scheduler.NowMs();
        const SequenceId id = scheduler.Open({.priority = i % 3,
                                              .arrival_ms = now_ms,
                                              .deadline_ms = i % 4 == 0 ? now_ms + 50 : kNever,
                                              .stream = i % 2 == 0});
        const Phase think{.role = Role::kThink,
                          .fresh = engine->Tokenize("Q?", false),
                          .budget = 5 + i,
                          .shut = {"</think>"},
                          .close = engine->Tokenize("</think>", false)};
        scheduler.Run(id, {think, Phase{.budget = 8}});
        if (i % 5 == 1) scheduler.StopThinking(id);
        if (i % 7 == caller) scheduler.Cancel(id);
        (void)scheduler.stats();
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  reader.join();
  CHECK(!failed);
}

TEST(StopsInTheMiddleOfWork) {
  for (int i = 0; i < 20; ++i) {
    auto engine = std::make_shared<ScriptedEngine>(Model());
    Scheduler scheduler(engine, std::make_shared<SteadyClock>(), {});
    scheduler.Start();
    const SequenceId id = scheduler.Open({});
    scheduler.Run(id, {Phase{.fresh = engine->Tokenize("Q?", false), .budget = 100}});
    if (i % 2 != 0) continue;
    for (const Event& event : scheduler.Take(1, 8)) delete event.result;
  }
}

}  // namespace edgereason
