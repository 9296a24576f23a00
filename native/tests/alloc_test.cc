// Memory runs out, at each place in turn: one request breaks, the others are answered.
#include <cstdlib>
#include <new>
#include <string>

#include "check.h"
#include "harness.h"

namespace {

// Allocations until one fails; negative: none does.
thread_local int countdown = -1;

void* Take(std::size_t size) {
  if (countdown >= 0 && countdown-- == 0) throw std::bad_alloc();
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return Take(size); }
void* operator new[](std::size_t size) { return Take(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace edgereason {
namespace {

using test::Answer;
using test::Endless;
using test::Harness;
using test::Think;

// Steps of which one allocation fails, the `nth` from here. True: so many there were not.
bool FailNth(Harness* harness, int nth, int num_steps) {
  countdown = nth;
  for (int i = 0; i < num_steps; ++i) harness->scheduler->Step();
  const bool none = countdown >= 0;
  countdown = -1;
  return none;
}

}  // namespace

TEST(MemoryThatRunsOutBreaksOneRequest) {
  int num_broken = 0;
  for (int nth = 0;; ++nth) {
    CHECK(nth < 5000);
    Harness harness(Endless(), {.park_cells = 0, .delivery_ms = 0});
    const SequenceId before = harness.Ask({Think(harness, 30), Answer(harness)});
    for (int i = 0; i < 5; ++i) harness.Step();
    Phase think = Think(harness, 8);
    think.probe = {.every = 3, .cue = harness.Ids("So:"), .tokens = 2};
    think.stop = {"abc"};
    const SequenceId id =
        harness.Ask({think, Answer(harness)}, {.deadline_ms = 900, .stream = true});
    const bool none = FailNth(&harness, nth, 25);
    harness.Drain();
    CHECK(harness.outcomes[before].over);
    CHECK(harness.outcomes[id].over);
    const int num_failed = harness.outcomes[before].failed + harness.outcomes[id].failed;
    CHECK(num_failed <= 1);
    num_broken += num_failed;
    for (const SequenceId each : {before, id}) {
      const auto& outcome = harness.outcomes[each];
      if (outcome.failed) CHECK_EQ(outcome.fault, Fault::kMemory);
      if (!outcome.failed) CHECK_EQ(outcome.last().text, "\n\n42");
      harness.scheduler->Close(each, /*park=*/false);
    }
    const SequenceId after = harness.Ask({Think(harness, 3), Answer(harness)});
    CHECK_EQ(harness.Finish(after).last().text, "\n\n42");
    harness.scheduler->Close(after, false);
    harness.Drain();
    CHECK_EQ(harness.engine->num_used_cells(), 0);
    if (none) break;
  }
  CHECK(num_broken > 10);
}

TEST(MemoryThatRunsOutAtTheEndLeavesNothingBehind) {
  for (int nth = 0;; ++nth) {
    Harness harness(Endless());
    const SequenceId id = harness.Ask({Think(harness, 6), Answer(harness)});
    harness.Finish(id);
    harness.scheduler->Close(id, /*park=*/true);
    const bool none = FailNth(&harness, nth, 1);
    const SequenceId after = harness.Ask({Think(harness, 3), Answer(harness)});
    CHECK_EQ(harness.Finish(after).last().text, "\n\n42");
    if (none) break;
  }
}

}  // namespace edgereason
