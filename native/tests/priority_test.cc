// Priorities: the more urgent go first, and nobody waits for ever.
#include "check.h"
#include "harness.h"

namespace edgereason {
namespace {

using test::Answer;
using test::Endless;
using test::Harness;
using test::Think;

// One request of priority 1 after the other, so that there always is one.
struct Flood {
  explicit Flood(Harness* asked) : harness(asked) { Next(); }

  void Next() {
    current = harness->Ask({Think(*harness, 50), Answer(*harness)}, {.priority = 1});
    ++num;
  }

  // Steps until `id` is over, or `most_ms` have passed. True: it is over.
  bool RunUntil(SequenceId id, double most_ms) {
    while (harness->clock->NowMs() < most_ms) {
      harness->Step();
      if (harness->outcomes[current].over) Next();
      if (harness->outcomes[id].over) return true;
    }
    return false;
  }

  Harness* harness;
  SequenceId current = 0;
  int num = 0;
};

}  // namespace

TEST(WhoIsHeldUpIsServedAtLast) {
  for (const double patience_ms : {2000.0, 1e12}) {
    Harness harness(Endless(), {.delivery_ms = 0, .patience_ms = patience_ms});
    const SequenceId low = harness.Ask({Think(harness, 20), Answer(harness)});
    Flood flood(&harness);
    const bool served = flood.RunUntil(low, 20000);
    CHECK_EQ(served, patience_ms < 1e12);
    CHECK(flood.num > 3);
    if (!served) continue;
    CHECK_EQ(harness.outcomes[low].last().text, "\n\n42");
    CHECK(harness.clock->NowMs() > 2000);  // until then the others went first
    CHECK(harness.clock->NowMs() < 4000);
  }
}

TEST(WhoHasNoKvIsAdmittedAtLast) {
  ScriptedOptions model = Endless();
  model.max_seqs = 1;
  Harness harness(model, {.delivery_ms = 0, .patience_ms = 2000});
  Flood flood(&harness);
  const SequenceId low = harness.Ask({Think(harness, 20), Answer(harness)});
  harness.Ask({Think(harness, 50), Answer(harness)}, {.priority = 1});  // one that waits before it
  CHECK(flood.RunUntil(low, 20000));
  CHECK_EQ(harness.outcomes[low].last().text, "\n\n42");
}

// Prompts are read in chunks, so the last of these waits for longer than the patience.
TEST(EqualsDoNotRiseAboveEachOther) {
  std::vector<std::int64_t> num_steps;
  for (const double patience_ms : {200.0, 1e12}) {
    Harness harness(Endless(), {.delivery_ms = 0, .patience_ms = patience_ms});
    std::vector<SequenceId> ids;
    for (int i = 0; i < 8; ++i) {
      Phase think = Think(harness, 60);
      think.fresh = harness.Ids(std::string(100, static_cast<char>('a' + i)) + "Q?");
      ids.push_back(harness.Ask({think, Answer(harness)}));
    }
    for (const SequenceId id : ids) harness.Finish(id);
    num_steps.push_back(harness.scheduler->stats().num_steps);
  }
  CHECK_EQ(num_steps.front(), num_steps.back());
}

TEST(TheMoreUrgentStillGoFirst) {
  Harness harness(Endless(), {.delivery_ms = 0, .patience_ms = 2000});
  const SequenceId old = harness.Ask({Think(harness, 400), Answer(harness)});
  for (int i = 0; i < 300; ++i) harness.Step();  // it is served: its age is nothing
  const SequenceId urgent = harness.Ask({Think(harness, 20), Answer(harness)}, {.priority = 1});
  harness.Finish(urgent);
  CHECK(!harness.outcomes[old].over);
  CHECK(harness.clock->NowMs() < 300 * 10 + 500);
}

}  // namespace edgereason
