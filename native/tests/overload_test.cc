// Requests with deadlines that ask for more than there is time for, in virtual time.
#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "harness.h"

namespace edgereason {
namespace {

using test::Answer;
using test::Endless;
using test::Harness;
using test::Outcome;
using test::Think;

// What steps take on a machine that others use: each another time, and now and then all of them.
std::vector<double> Noise(std::mt19937* random) {
  std::normal_distribution<double> normal;
  std::vector<double> pace;
  double lasting = 0;
  for (int i = 0; i < 9973; ++i) {
    lasting = 0.9 * lasting + 0.06 * normal(*random);
    pace.push_back(std::exp(lasting + 0.14 * normal(*random)));
  }
  return pace;
}

struct Arrival {
  Phase think;
  std::int32_t answer_budget;
  double deadline_ms;
  std::int32_t priority;
  double until_next_ms;
};

struct Asked {
  SequenceId id;
  double deadline_ms;
  double due_ms;
};

// Asks `num` requests, each at its moment, and runs until all are over.
template <typename Next>
std::vector<Asked> Play(Harness* harness, int num, Next next) {
  std::vector<Asked> asked;
  double next_ms = harness->clock->NowMs();
  while (static_cast<int>(asked.size()) < num) {
    if (harness->clock->NowMs() >= next_ms) {
      const Arrival one = next();
      const double due_ms = harness->clock->NowMs() + one.deadline_ms;
      const SequenceId id =
          harness->Ask({one.think, Answer(*harness, one.answer_budget)},
                       {.priority = one.priority, .deadline_ms = one.deadline_ms});
      asked.push_back({id, one.deadline_ms, due_ms});
      next_ms += one.until_next_ms;
    }
    if (!harness->Step()) harness->clock->Advance(1);
  }
  harness->Drain();
  return asked;
}

struct Burst {
  int num_answered = 0;  // in time, with a whole answer
  int num_text = 0;      // with some text
  int num_refused = 0;
  int num_at_once = 0;  // of those
  int num_late = 0;
};

// 64 requests at the same moment, with deadlines of 50 to 500 ms and prompts of their own.
Burst AskAtOnce(unsigned seed) {
  std::mt19937 random(seed);
  ScriptedOptions model = Endless();
  model.step_ms = 5;
  model.row_ms = 0.7;
  Harness harness(model);
  std::vector<Asked> asked;
  const double begin_ms = harness.clock->NowMs();
  for (int i = 0; i < 64; ++i) {
    std::string prompt(40 + random() % 80, 'p');
    for (char& letter : prompt) letter = static_cast<char>('a' + random() % 26);
    Phase think = Think(harness);
    think.fresh = harness.Ids(prompt + "Q?");
    const double deadline_ms = 50 + 450 * static_cast<double>(random() % 1000) / 1000;
    const double due_ms = harness.clock->NowMs() + deadline_ms;
    const SequenceId id = harness.Ask({think, Answer(harness, 6)}, {.deadline_ms = deadline_ms});
    asked.push_back({id, deadline_ms, due_ms});
  }
  harness.Drain();
  Burst burst;
  for (const Asked& one : asked) {
    const Outcome& outcome = harness.outcomes[one.id];
    CHECK(outcome.over);
    burst.num_late += outcome.end_ms > one.due_ms ? 1 : 0;
    if (outcome.last().reason == StopReason::kRefused) {
      ++burst.num_refused;
      burst.num_at_once += outcome.end_ms < begin_ms + 50 ? 1 : 0;
      continue;
    }
    if (outcome.phases.size() < 2) continue;
    burst.num_text += outcome.last().text.empty() ? 0 : 1;
    burst.num_answered += outcome.last().text == "\n\n42" ? 1 : 0;
  }
  return burst;
}

}  // namespace

TEST(ABurstIsAnsweredAsFarAsThereIsTime) {
  for (unsigned seed = 0; seed < 13; ++seed) {
    const Burst burst = AskAtOnce(seed);
    CHECK(burst.num_answered >= 6);
    CHECK(burst.num_refused + burst.num_text >= 62);
    CHECK(burst.num_at_once >= 45);
    CHECK_EQ(burst.num_late, 0);
  }
}

TEST(OverloadIsAnsweredInTime) {
  ScriptedOptions model = Endless();
  model.max_seqs = 64;
  Harness harness(model);
  std::mt19937 random(7);
  // Each is owed about 60 ms alone and would think for ever; one arrives every 150 ms.
  const auto next = [&]() -> Arrival {
    const double deadline_ms = 300 + static_cast<double>(random() % 2000);
    const auto priority = static_cast<std::int32_t>(random() % 3);
    return {Think(harness), 6, deadline_ms, priority, 150};
  };
  for (const Asked& one : Play(&harness, 60, next)) {
    const Outcome& outcome = harness.Finish(one.id);
    CHECK_NEAR(std::max(outcome.end_ms - one.due_ms, 0.0), 0, 0);
    CHECK_EQ(outcome.last().text, "\n\n42");
  }
}

// One step in a while takes twice as long as expected.
TEST(ASlowStepMakesNoAnswerLateByMoreThanAToken) {
  for (double deadline_ms = 150; deadline_ms < 400; deadline_ms += 7) {
    for (std::size_t slow = 0; slow < 19; ++slow) {
      ScriptedOptions model = Endless();
      model.step_ms = 4;
      model.row_ms = 5;
      model.pace.assign(19, 1);
      model.pace[slow] = 2;
      Harness harness(model);
      const double due_ms = harness.clock->NowMs() + deadline_ms;
      const SequenceId id =
          harness.Ask({Think(harness), Answer(harness, 4)}, {.deadline_ms = deadline_ms});
      for (const char letter : {'a', 'b', 'c'}) {
        Phase think = Think(harness);
        think.fresh = harness.Ids(std::string(300, letter) + "Q?");
        harness.Ask({think, Answer(harness)}, {.deadline_ms = 9000});
      }
      const Outcome& outcome = harness.Finish(id);
      CHECK(!outcome.last().text.empty());
      CHECK(outcome.end_ms - due_ms <= 9);
    }
  }
}

TEST(WhoHasTimeIsAnsweredThoughStepsVary) {
  std::mt19937 random(3);
  ScriptedOptions model = Endless();
  model.step_ms = 5;
  model.row_ms = 3.5;
  model.pace = Noise(&random);
  Harness harness(model, {});
  // 63 rows of a prompt and 12 tokens of an answer are owed, about 0.3 s alone; deadlines from 0.3
  // to 5 s, log-uniform; 1.2 arrive a second, and think as long as they may.
  std::exponential_distribution<double> gap_ms(1.2 / 1000);
  std::uniform_real_distribution<double> log_ms(std::log(300), std::log(5000));
  const auto next = [&]() -> Arrival {
    std::string prompt(60, 'p');
    for (char& letter : prompt) letter = static_cast<char>('a' + random() % 26);
    Phase think = Think(harness);
    think.fresh = harness.Ids(prompt + "Q?");
    const double deadline_ms = std::exp(log_ms(random));
    const auto priority = static_cast<std::int32_t>(random() % 3);
    return {think, 12, deadline_ms, priority, gap_ms(random)};
  };
  int num_patient = 0;
  int num_empty = 0;
  int num_late = 0;
  for (const Asked& one : Play(&harness, 600, next)) {
    const Outcome& outcome = harness.outcomes[one.id];
    CHECK(outcome.over);
    num_late += outcome.end_ms > one.due_ms ? 1 : 0;
    if (one.deadline_ms < 1200) continue;  // may be less than is owed to those that came before
    ++num_patient;
    num_empty += outcome.phases.size() < 2 || outcome.last().text.empty() ? 1 : 0;
  }
  CHECK(num_patient > 250);
  CHECK(num_empty <= num_patient / 100);
  CHECK(num_late <= 6);
}

}  // namespace edgereason
