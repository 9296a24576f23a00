// A scheduler on the scripted engine and a clock that only steps advance.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "edgereason/scheduler.h"
#include "edgereason/scripted.h"

namespace edgereason::test {

struct Outcome {
  std::vector<PhaseResult> phases;
  std::string streamed[2];         // by Channel
  std::vector<std::string> heard;  // by probes
  bool over = false;
  bool failed = false;
  Fault fault = Fault::kEngine;
  std::int64_t failed_step = 0;
  double end_ms = 0;

  const PhaseResult& last() const { return phases.back(); }
};

struct Harness {
  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
  std::shared_ptr<ScriptedEngine> engine;
  std::shared_ptr<ScriptedEngine> draft;  // null: no model guesses
  std::unique_ptr<Scheduler> scheduler;
  std::map<SequenceId, Outcome> outcomes;

  explicit Harness(ScriptedOptions options = {}, SchedulerOptions scheduling = {.delivery_ms = 0}) {
    options.clock = clock;
    if (options.step_ms == 0) options.step_ms = 9;
    if (options.row_ms == 0) options.row_ms = 1;
    Use(std::make_shared<ScriptedEngine>(std::move(options)), scheduling);
  }
  explicit Harness(std::shared_ptr<ScriptedEngine> made) { Use(std::move(made), {}); }
  // With a draft model, whose steps take 1 ms and a tenth more a row.
  Harness(ScriptedOptions options, ScriptedOptions drafting, const SchedulerOptions& scheduling) {
    options.clock = drafting.clock = clock;
    options.step_ms = 9, options.row_ms = 1;
    drafting.step_ms = 1, drafting.row_ms = 0.1;
    draft = std::make_shared<ScriptedEngine>(std::move(drafting));
    Use(std::make_shared<ScriptedEngine>(std::move(options)), scheduling);
  }

  void Use(std::shared_ptr<ScriptedEngine> made, const SchedulerOptions& scheduling) {
    engine = std::move(made);
    scheduler = std::make_unique<Scheduler>(engine, clock, scheduling, draft);
    scheduler->WarmUp();
  }

  std::vector<Token> Ids(const std::string& text) const { return engine->Tokenize(text, true); }

  // Times are from now on.
  SequenceId Ask(std::vector<Phase> chain, SequenceOptions options = {}) {
    options.arrival_ms = clock->NowMs();
    options.deadline_ms += clock->NowMs();
    const SequenceId id = scheduler->Open(options);
    scheduler->Run(id, std::move(chain));
    return id;
  }

  bool Step() {
    const bool did = scheduler->Step();
    for (const Event& event : scheduler->Take(0, 4096)) {
      Outcome& outcome = outcomes[event.id];
      if (event.kind == Event::Kind::kText) {
        outcome.streamed[static_cast<int>(event.channel)].append(event.text, event.num_bytes);
      } else if (event.kind == Event::Kind::kProbe) {
        outcome.heard.emplace_back(event.text, event.num_bytes);
      } else if (event.kind == Event::Kind::kFailed) {
        outcome.failed = outcome.over = true;
        outcome.fault = event.fault;
        outcome.failed_step = event.step;
      } else {
        outcome.end_ms = event.result->end_ms;
        outcome.phases.push_back(std::move(*event.result));
        delete event.result;
        outcome.over = event.last;
      }
    }
    return did;
  }

  void Drain() {
    for (int i = 0; i < 100000 && Step(); ++i) {
    }
  }

  // Runs until `id` is over.
  const Outcome& Finish(SequenceId id) {
    for (int i = 0; i < 100000 && !outcomes[id].over; ++i) Step();
    CHECK(outcomes[id].over);
    return outcomes[id];
  }

  std::int32_t num_free_cells() {
    Step();
    return engine->info().num_cells - engine->num_used_cells();
  }
};

// A model that never stops thinking by itself.
inline ScriptedOptions Endless() {
  std::string thoughts;
  for (int i = 0; i < 500; ++i) thoughts += std::to_string(i * 7919 % 997) + " ";
  return {.rules = {{.after = "Q?", .reply = thoughts}, {.after = "</think>", .reply = "\n\n42"}}};
}

inline Phase Think(const Harness& harness, std::int32_t budget = kUnlimited) {
  return {.role = Role::kThink,
          .fresh = harness.Ids("Q?"),
          .budget = budget,
          .shut = {"</think>"},
          .close = harness.Ids("</think>")};
}

inline Phase Answer(const Harness& harness, std::int32_t budget = 16) {
  return {.budget = budget,
          .open = {"<think>"},
          .shut = {"</think>"},
          .close = harness.Ids("</think>")};
}

}  // namespace edgereason::test
