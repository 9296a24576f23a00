// What strangers bring stops nobody else: values that make no sense, phases with nothing to go on
// from, models that give no numbers.
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "check.h"
#include "harness.h"
#include "policy/finite.h"

namespace edgereason {
namespace {

using test::Answer;
using test::Endless;
using test::Harness;
using test::Outcome;
using test::Think;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// Gives `number` as the first logit of every sequence whose text ends so.
class Damaged final : public ScriptedEngine {
 public:
  Damaged(ScriptedOptions options, std::string after, float number)
      : ScriptedEngine(std::move(options)), after_(std::move(after)), number_(number) {}

  Status Decode(std::span<const Row> rows) noexcept override {
    rows_ = rows;
    return ScriptedEngine::Decode(rows);
  }
  std::span<const float> Logits(std::int32_t row) const noexcept override {
    const std::span<const float> logits = ScriptedEngine::Logits(row);
    if (!Text(rows_[static_cast<std::size_t>(row)].seq).ends_with(after_)) return logits;
    damaged_.assign(logits.begin(), logits.end());
    damaged_.front() = number_;
    return damaged_;
  }

 private:
  std::string after_;
  float number_;
  std::span<const Row> rows_;
  mutable std::vector<float> damaged_;
};

}  // namespace

TEST(FiniteIsFinite) {
  CHECK(AreFinite(std::vector<float>{1, -2, 0}));
  CHECK(!AreFinite({}));
  for (const float broken : {kNan, -kNan, kInf, -kInf}) {
    std::vector<float> values(40, 1);
    values[7] = broken;
    CHECK(!AreFinite(values));
  }
}

TEST(NumbersThatAreNotFiniteEndTheirRequestAlone) {
  for (const float broken : {kNan, kInf}) {
    Harness harness(std::make_shared<Damaged>(Endless(), "Qx?", broken));
    const SequenceId other = harness.Ask({Think(harness, 5), Answer(harness)});
    Phase think = Think(harness, 5);
    think.fresh = harness.Ids("Qx?");
    const SequenceId id = harness.Ask({think, Answer(harness)});
    CHECK(harness.Finish(id).failed);
    CHECK_EQ(harness.outcomes[id].fault, Fault::kNumbers);
    CHECK(harness.outcomes[id].failed_step > 0);
    CHECK(FaultText({.fault = Fault::kNumbers, .step = 7}, "").find("step 7") != std::string::npos);
    CHECK_EQ(harness.Finish(other).last().text, "\n\n42");
  }
}

TEST(LookingAheadAtNumbersThatAreNotFiniteEndsTheRequest) {
  Harness harness(std::make_shared<Damaged>(Endless(), "So:", kNan));
  Phase think = Think(harness, 20);
  think.probe = {.every = 4, .cue = harness.Ids("So:")};
  const SequenceId id = harness.Ask({think, Answer(harness)});
  CHECK(harness.Finish(id).failed);
  harness.scheduler->Close(id, false);
  harness.Drain();
  CHECK_EQ(harness.engine->num_used_cells(), 0);
}

TEST(ValuesThatMakeNoSenseAreRefusedAtOnce) {
  Harness harness(Endless());
  const std::vector<std::function<void(Phase*)>> bad = {
      [](Phase* p) { p->stop = {"x", ""}; },
      [](Phase* p) { p->open = {""}; },
      [](Phase* p) { p->shut = {""}; },
      [](Phase* p) { p->soft = kNan; },
      [](Phase* p) { p->owed = -1; },
      [](Phase* p) { p->sampling.temperature = kNan; },
      [](Phase* p) { p->sampling.temperature = kInf; },
      [](Phase* p) { p->sampling.top_p = 0; },
      [](Phase* p) { p->sampling.top_k = -1; },
      [](Phase* p) { p->sampling.min_p = kNan; },
      [](Phase* p) { p->sampling.repetition_penalty = 0; },
      [](Phase* p) { p->sampling.presence_penalty = kInf; },
      [](Phase* p) { p->sampling.penalty_window = -1; },
      [](Phase* p) { p->sampling.logit_bias = {{0, kNan}}; },
      [](Phase* p) { p->sampling.logit_bias = {{-1, 0}}; },
      [](Phase* p) { p->probe = {.every = 1, .tokens = 0}; },
      [](Phase* p) { p->probe = {.every = -1}; },
      [](Phase* p) { p->loop = {.max_period = 1 << 30}; },
      [](Phase* p) { p->loop = {.max_period = 8, .repeats = 1 << 30}; },
      [](Phase* p) { p->fresh.reset(); },
  };
  const SequenceId id = harness.scheduler->Open({});
  for (const auto& spoil : bad) {
    Phase phase = Think(harness, 4);
    spoil(&phase);
    CHECK_THROWS(harness.scheduler->Run(id, {phase}), Error);
  }
  CHECK_THROWS(harness.scheduler->Open({.arrival_ms = std::nan("")}), Error);
  CHECK_THROWS(harness.scheduler->Open({.deadline_ms = -kNever}), Error);
  harness.scheduler->Run(id, {Think(harness, 4), Answer(harness)});
  CHECK_EQ(harness.Finish(id).last().text, "\n\n42");
}

// An answer budget that can never be used, in a phase whose prompt is not the chain's last.
TEST(EveryPromptOfAChainMustFit) {
  Harness harness(Endless());
  const SequenceId id = harness.scheduler->Open({});
  Phase draft = Answer(harness, std::numeric_limits<std::int32_t>::max());
  draft.fresh = harness.Ids("Q?");
  CHECK_THROWS(harness.scheduler->Run(id, {draft, Think(harness, 4)}), Error);
}

TEST(APhaseWithNothingNewGoesOn) {
  for (const bool retract : {false, true}) {
    for (const bool empty_close : {false, true}) {
      Harness harness({.rules = {{.after = "Q?", .reply = "hm</think>"},
                                 {.after = "</think>", .reply = "\n\n42"}}});
      Phase think = Think(harness);
      Phase more = Think(harness, 3);
      more.fresh.reset();
      more.retract = retract;
      if (empty_close) think.close = more.close = {};
      const SequenceId id = harness.Ask({think, more, Answer(harness, 4)});
      const SequenceId other = harness.Ask({Think(harness, 2), Answer(harness)});
      CHECK_EQ(harness.Finish(id).phases.size(), 3);
      CHECK(!harness.Finish(other).last().text.empty());
    }
  }
}

// The model ends its own turn, so that nothing is pending, and no end mark is put.
TEST(AnEmptyEndMarkIsNoEnd) {
  Harness harness({.rules = {{.after = "Q?", .reply = "hm"}}});
  Phase think = Think(harness);
  think.close = {};
  const SequenceId id = harness.Ask({think, Answer(harness, 4)});
  CHECK_EQ(harness.Finish(id).phases.size(), 2);
}

TEST(ReadingWhatIsReadAlreadyEnds) {
  Harness harness(Endless());
  Phase fill{.role = Role::kPrefill, .fresh = harness.Ids("Q?")};
  Phase again{.role = Role::kPrefill};
  const SequenceId id = harness.Ask({fill, again, again});
  CHECK_EQ(harness.Finish(id).phases.size(), 3);
}

}  // namespace edgereason
