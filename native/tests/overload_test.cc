// Requests with deadlines that ask for more than there is time for, in virtual time.
#include <algorithm>
#include <cmath>
#include <map>
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

struct Asked {
  RequestId id;
  double deadline_ms;
  double due_ms;
};

// 63 rows of a prompt and 12 tokens of an answer are owed, about 0.3 s alone; deadlines from 0.3 to
// 5 s, log-uniform; 1.2 arrive a second, and think as long as they may.
std::vector<Asked> PlayAll(Harness* harness, std::mt19937* random, int num) {
  std::exponential_distribution<double> gap_ms(1.2 / 1000);
  std::uniform_real_distribution<double> log_ms(std::log(300), std::log(5000));
  std::vector<Asked> asked;
  double next_ms = harness->clock->NowMs();
  while (static_cast<int>(asked.size()) < num) {
    if (harness->clock->NowMs() >= next_ms) {
      Phase think = Think(*harness);
      std::string prompt(60, 'p');
      for (char& letter : prompt) letter = static_cast<char>('a' + (*random)() % 26);
      think.fresh = harness->Ids(prompt + "Q?");
      const double deadline_ms = std::exp(log_ms(*random));
      const double due_ms = harness->clock->NowMs() + deadline_ms;
      const auto priority = static_cast<std::int32_t>((*random)() % 3);
      const RequestId id = harness->Ask({think, Answer(*harness, 12)},
                                        {.priority = priority, .deadline_ms = deadline_ms});
      asked.push_back({id, deadline_ms, due_ms});
      next_ms += gap_ms(*random);
    }
    if (!harness->Step()) harness->clock->Advance(1);
  }
  harness->Drain();
  return asked;
}

}  // namespace

TEST(OverloadIsAnsweredInTime) {
  ScriptedOptions model = Endless();
  model.max_seqs = 64;
  Harness harness(model);
  std::mt19937 random(7);
  std::vector<RequestId> ids;
  std::map<RequestId, double> due_ms;
  // Each is owed about 60 ms alone and would think for ever; one arrives every 150 ms.
  double next_ms = harness.clock->NowMs();
  while (ids.size() < 60) {
    if (harness.clock->NowMs() >= next_ms) {
      const double deadline_ms = 300 + static_cast<double>(random() % 2000);
      ids.push_back(harness.Ask(
          {Think(harness), Answer(harness, 6)},
          {.priority = static_cast<std::int32_t>(random() % 3), .deadline_ms = deadline_ms}));
      due_ms[ids.back()] = harness.clock->NowMs() + deadline_ms;
      next_ms += 150;
    }
    if (!harness.Step()) harness.clock->Advance(1);
  }
  for (const RequestId id : ids) {
    const Outcome& outcome = harness.Finish(id);
    CHECK_NEAR(std::max(outcome.end_ms - due_ms[id], 0.0), 0, 0);
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
      const RequestId id =
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
  int num_patient = 0;
  int num_empty = 0;
  int num_late = 0;
  for (const Asked& one : PlayAll(&harness, &random, 600)) {
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
