#include "policy/plan.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "check.h"

namespace edgereason {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// 10 ms for one row, 1 ms for each further one.
CostModel Cost() {
  CostModel cost;
  for (int round = 0; round < 8; ++round) {
    for (const int rows : {1, 2, 4, 8, 16, 32, 64, 128}) cost.Observe(rows, 0, 9.0 + rows);
  }
  return cost;
}

PlanSeq Thinking(double deadline_ms) {
  return {.deadline_ms = deadline_ms, .pending = 1, .owed_steps = 10, .thinking = true};
}

PlanSeq Answering(double deadline_ms) {
  return {.deadline_ms = deadline_ms, .pending = 1, .owed_steps = 10};
}

std::vector<std::int32_t> ByDeadline(const std::vector<PlanSeq>& seqs) {
  std::vector<std::int32_t> by_deadline;
  for (std::size_t i = 0; i < seqs.size(); ++i) {
    if (seqs[i].deadline_ms < kNever) by_deadline.push_back(static_cast<std::int32_t>(i));
  }
  std::ranges::stable_sort(by_deadline, {}, [&](std::int32_t i) {
    return seqs[static_cast<std::size_t>(i)].deadline_ms;
  });
  return by_deadline;
}

std::vector<std::int32_t> Rows(const std::vector<PlanSeq>& seqs, PlanLimits limits = {}) {
  std::vector<std::int32_t> rows(seqs.size());
  GrantRows(seqs, ByDeadline(seqs), Cost(), limits, rows);
  return rows;
}

std::int32_t Closed(const std::vector<PlanSeq>& seqs, const CostModel& cost, PlanLimits limits) {
  return NumToClose(seqs, ByDeadline(seqs), cost, limits);
}

using Ints = std::vector<std::int32_t>;

}  // namespace

TEST(WithoutDeadlinesAllOfOnePriorityShareTheStep) {
  CHECK_EQ(Rows({Thinking(kNever), Answering(kNever), Thinking(kNever)}), (Ints{1, 1, 1}));
}

TEST(MoreUrgentRequestPausesTheOthers) {
  PlanSeq urgent = Thinking(kNever);
  urgent.priority = 1;
  CHECK_EQ(Rows({urgent, Thinking(kNever), Answering(kNever)}), (Ints{1, 0, 0}));
}

TEST(BlockedRequestsPauseNobody) {
  PlanSeq urgent = Thinking(kNever);
  urgent.priority = 1;
  urgent.blocked = true;
  CHECK_EQ(Rows({urgent, Thinking(kNever)}), (Ints{0, 1}));
}

TEST(OwedAnswersGoBeforeMoreUrgentThinking) {
  PlanSeq urgent = Thinking(kNever);
  urgent.priority = 1;
  // 10 tokens in 120 ms: there is no time to share a step with anyone.
  CHECK_EQ(Rows({urgent, Answering(120)}), (Ints{0, 1}));
  CHECK_EQ(Rows({urgent, Answering(1000)}), (Ints{1, 1}));
}

TEST(PromptsUnderADeadlineGoBeforeMoreUrgentThinking) {
  PlanSeq urgent = Thinking(5000);
  urgent.priority = 1;
  PlanSeq prompt = Thinking(4000);
  prompt.pending = 300;
  const auto rows = Rows({urgent, prompt});
  CHECK_EQ(rows[0], 1);
  CHECK(rows[1] >= 35 && rows[1] <= 41);  // 9 + 41 = 50 ms
  prompt.deadline_ms = kNever;
  CHECK_EQ(Rows({urgent, prompt}), (Ints{1, 0}));
}

TEST(EarlierDeadlineGoesBeforeHigherPriority) {
  PlanSeq urgent = Answering(2000);
  urgent.priority = 1;
  CHECK_EQ(Rows({urgent, Answering(120)}), (Ints{0, 1}));
}

TEST(NobodyTakesTheTimeOfHigherPriority) {
  PlanSeq urgent = Answering(118);
  urgent.priority = 1;
  CHECK_EQ(Rows({urgent, Answering(116)}), (Ints{1, 0}));
}

TEST(LonePromptIsNotCut) {
  PlanSeq prompt = Thinking(kNever);
  prompt.pending = 300;
  CHECK_EQ(Rows({prompt}), (Ints{300}));
  CHECK_EQ(Rows({prompt}, {.max_rows = 128}), (Ints{128}));
}

TEST(LonePromptUnderADeadlineIsReadInChunks) {
  PlanSeq prompt = Answering(400);
  prompt.pending = 300;
  const auto rows = Rows({prompt});
  CHECK(rows[0] >= 85 && rows[0] <= 91);  // 9 + 91 = 100 ms
}

TEST(LonePromptWithALateDeadlineLetsOthersIn) {
  PlanSeq prompt = Answering(8000);
  prompt.pending = 300;
  const auto rows = Rows({prompt}, {.chunk_ms = 60});
  CHECK(rows[0] >= 105 && rows[0] <= 111);  // 9 + 111 = 120 ms
}

TEST(PromptTakesHalfOfTheTimeLeft) {
  PlanSeq prompt = Answering(80);
  prompt.pending = 300;
  const auto rows = Rows({prompt});
  CHECK(rows[0] >= 25 && rows[0] <= 31);  // 9 + 31 = 40 ms
  prompt.pending = 17;
  prompt.deadline_ms = 30;
  CHECK_EQ(Rows({prompt}, {.chunk_ms = 20}), (Ints{6}));  // 9 + 6 = 15 ms
}

TEST(RestOfAPromptTakesAllTheTimeLeft) {
  PlanSeq prompt = Answering(60);
  prompt.pending = 40;
  CHECK_EQ(Rows({prompt}), (Ints{40}));  // 9 + 40 = 49 ms
}

TEST(LastTokenIsNotHeldUpByOthersPrompts) {
  PlanSeq last = Answering(40);
  last.owed_steps = 1;
  PlanSeq prompt = Answering(5000);
  for (const std::int32_t pending : {300, 40, 16}) {
    prompt.pending = pending;
    CHECK_EQ(Rows({last, prompt}), (Ints{1, 10}));  // 9 + 11 = 20 ms
  }
}

TEST(PromptIsCutWhileOthersDecode) {
  PlanSeq prompt = Thinking(kNever);
  prompt.pending = 300;
  const auto rows = Rows({Thinking(kNever), prompt}, {.chunk_ms = 40});
  CHECK_EQ(rows[0], 1);
  CHECK(rows[1] >= 25 && rows[1] <= 31);  // 9 + 31 = 40 ms
}

// A single row takes as long as a chunk: prompts are read nevertheless, and not row by row.
TEST(SlowStepsHoldNoPromptUp) {
  PlanSeq prompt = Thinking(kNever);
  prompt.pending = 300;
  CHECK_EQ(Rows({Thinking(kNever), prompt}, {.chunk_ms = 10}), (Ints{1, 15}));  // 9 + 16 = 25 ms
  CHECK_EQ(Rows({prompt, Thinking(kNever)}, {.chunk_ms = 5}), (Ints{16, 1}));
  prompt.deadline_ms = 8000;
  CHECK_EQ(Rows({prompt}, {.chunk_ms = 5}), (Ints{41}));  // 9 + 41 = 50 ms: nobody else waits
}

// Steps of a 0.5B on one core: two rows take longer than two steps of one, sixteen a third of that
// a row. A chunk of 50 ms would be two rows.
TEST(PromptsAreNotReadInDearRows) {
  CostModel cost;
  cost.Restore(std::array{18.0, 49.0, 61.0, 88.0, 106.0, 208.0, 371.0}, 0);
  PlanSeq prompt = Thinking(kNever);
  prompt.pending = 300;
  std::vector<PlanSeq> seqs{Thinking(kNever), prompt, prompt};
  Ints rows(seqs.size());
  GrantRows(seqs, {}, cost, {}, rows);
  CHECK_EQ(rows, (Ints{1, 15, 0}));
  // Nobody sees the steps, and 64 rows cost less each.
  for (PlanSeq& seq : seqs) seq.watched = false;
  GrantRows(seqs, {}, cost, {}, rows);
  CHECK_EQ(rows, (Ints{1, 63, 0}));
  seqs.back().watched = true;
  GrantRows(seqs, {}, cost, {}, rows);
  CHECK_EQ(rows, (Ints{1, 15, 0}));
}

TEST(ShortPromptsAreNotCut) {
  PlanSeq cue = Answering(kNever);
  cue.pending = 12;
  // A step of 36 rows takes 45 ms.
  CHECK_EQ(Rows({cue, cue, cue}, {.chunk_ms = 15}), (Ints{12, 12, 12}));
  const auto many = Rows(std::vector(8, cue), {.chunk_ms = 15});
  CHECK_EQ(many, (Ints{12, 12, 12, 12, 12, 0, 0, 0}));
}

TEST(ShortPromptsWaitForWhoHasNoTime) {
  PlanSeq cue = Thinking(kNever);
  cue.pending = 12;
  // 10 more tokens in 125 ms: a step of 13 rows, 22 ms, is too long.
  const auto rows = Rows({Answering(125), cue});
  CHECK_EQ(rows[0], 1);
  CHECK(rows[1] < 12);
}

TEST(ThinkingEndsWhenItsOwnAnswerNeedsTheTime) {
  const CostModel cost = Cost();
  // The answer takes 1 + 10 steps of 10 ms, times 1.15, and the step about to run.
  CHECK_EQ(Closed({Thinking(200)}, cost, {.now_ms = 50}), 0);
  CHECK_EQ(Closed({Thinking(200)}, cost, {.now_ms = 70}), 1);
}

TEST(ThinkingEndsWhenAllAnswersTogetherNeedTheTime) {
  const CostModel cost = Cost();
  const std::vector<PlanSeq> one{Thinking(220)};
  const std::vector<PlanSeq> many(8, Thinking(220));
  CHECK_EQ(Closed(one, cost, {}), 0);
  CHECK_EQ(Closed(many, cost, {}), 8);
}

TEST(LaterDeadlinesKeepThinking) {
  const std::vector<PlanSeq> seqs{Thinking(130), Thinking(5000), Thinking(kNever)};
  CHECK_EQ(Closed(seqs, Cost(), {}), 1);
}

TEST(SomeoneAlwaysRuns) {
  // Both are late already.
  CHECK_EQ(Rows({Answering(1), Answering(2)}, {.now_ms = 100}), (Ints{1, 0}));
}

}  // namespace edgereason
