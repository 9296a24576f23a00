// Random commands for the scheduler: chains, cancels, closes, prefixes, tiny contexts, values that
// make no sense. Whatever comes, nothing crashes or stops, each request ends, and nothing is left.
//
//   ./fuzz_scheduler            the seeds that are kept, then 300 more
//   ./fuzz_scheduler 600        as many as fit into 600 s, from a new place
//   ./fuzz_scheduler seed 17    that one, for the debugger
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "edgereason/scheduler.h"
#include "edgereason/scripted.h"

namespace edgereason {
namespace {

// Kept, whatever the short form draws.
constexpr std::uint32_t kSeeds[] = {1, 2, 3, 5, 8, 13, 1132, 1205, 1229, 3892451659, 4190638749};

void Require(bool ok, const std::string& what) {
  if (!ok) throw std::logic_error(what);
}

class Run {
 public:
  explicit Run(std::uint32_t seed) : random_(seed) {
    ScriptedOptions options;
    options.rules = {{.after = "Q", .reply = "one two three</think>four"},
                     {.after = "Z", .reply = ""},
                     {.after = "</think>", .reply = "42"},
                     {.after = "ab", .reply = "abcdeabcdeabcdeabcde"}};
    options.num_cells = Pick<std::int32_t>({8, 24, 64, 300});
    options.max_rows = Pick<std::int32_t>({8, 16, 512});
    options.max_seqs = Pick<std::int32_t>({1, 2, 4, 8});
    options.caps = Pick<std::uint32_t>({63, 63, 63 | kPrefixKv, kLogits, kLogits | kFork});
    options.clock = clock_;
    options.step_ms = Pick<double>({0, 1, 9});
    options.row_ms = Pick<double>({0, 0.5, 3});
    ScriptedOptions drafting = options;
    engine_ = std::make_shared<ScriptedEngine>(std::move(options));
    SchedulerOptions scheduling;
    scheduling.park_cells = Pick<std::int32_t>({-1, 0, 8});
    scheduling.delivery_ms = 0;
    if ((engine_->info().caps & kTrim) != 0) scheduling.lookahead = Pick<std::int32_t>({0, 3, 32});
    if (scheduling.lookahead > 0 && seed % 2 == 0) {  // of what it reads it has less room
      drafting.num_cells /= 2;
      drafting.step_ms /= 10, drafting.row_ms /= 10;
      draft_ = std::make_shared<ScriptedEngine>(std::move(drafting));
    }
    scheduler_ = std::make_unique<Scheduler>(engine_, clock_, scheduling, draft_);
    scheduler_->WarmUp();
  }

  void Play() {
    for (int i = 0; i < 400; ++i) Command();
    for (int i = 0; i < 20000 && !AllOver(); ++i) Step();
    for (const auto& [id, state] : sequences_) {
      const SchedulerStats stats = scheduler_->stats();
      Require(!state.running, "request " + std::to_string(id) + " never ended; active " +
                                  std::to_string(stats.num_active) + ", waiting " +
                                  std::to_string(stats.num_waiting) + ", free cells " +
                                  std::to_string(stats.num_free_cells));
      scheduler_->Close(id, /*park=*/false);
    }
    for (int i = 0; i < 5; ++i) Step();
    Require(scheduler_->stats().num_active == 0, "something is active, but all is over");
    if (scheduler_->stats().num_parked == 0 && num_prefixes_ == 0) {
      Require(engine_->num_used_cells() == 0, "cells are held by nobody");
    }
  }

  // How phases ended, over all runs: what the commands reach.
  static void PrintReasons() {
    for (std::size_t i = 0; i < num_phases_.size(); ++i) {
      std::printf("%s %lld  ", kStopReasonNames[i].data(), static_cast<long long>(num_phases_[i]));
    }
  }

 private:
  struct State {
    bool running = false;
  };

  template <typename T>
  T Pick(std::initializer_list<T> values) {
    return values.begin()[random_() % values.size()];
  }
  bool Sometimes(unsigned one_in) { return random_() % one_in == 0; }

  std::int32_t OddNumber() {
    constexpr auto kMost = std::numeric_limits<std::int32_t>::max();
    return Pick<std::int32_t>({0, 1, 2, 3, 7, 20, -1, -2, kMost, -kMost - 1, 100000});
  }
  float OddFloat() {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    return Pick<float>(
        {0, 0.5F, 1, 2, -1, kInf, -kInf, 1e-40F, 1e38F, std::numeric_limits<float>::quiet_NaN()});
  }
  std::vector<Token> Tokens() {
    const std::string text =
        Pick<std::string>({"", "Q", "Z", "abcQ", "abcdQ", "</think>", "a", std::string(40, 'x')});
    std::vector<Token> tokens = engine_->Tokenize(text, true);
    if (Sometimes(40)) tokens.push_back(OddNumber());
    return tokens;
  }
  std::vector<std::string> Texts() {
    if (Sometimes(60)) return {""};
    return Pick<std::vector<std::string>>({{}, {"</think>"}, {"o"}, {"ee", "two"}, {"<think>"}});
  }

  Phase OnePhase() {
    Phase phase;
    const bool odd = Sometimes(3);
    phase.role = static_cast<Role>(random_() % kRoleNames.size());
    if (!Sometimes(3)) phase.fresh = Tokens();
    if (Sometimes(8)) phase.latent = odd ? OddNumber() : 2;
    phase.retract = Sometimes(3);
    if (Sometimes(2)) phase.force = Tokens();
    phase.budget = odd && Sometimes(6) ? OddNumber() : Pick<std::int32_t>({-1, 0, 1, 4, 9});
    if (Sometimes(6)) phase.soft = OddFloat();
    phase.open = Texts();
    phase.shut = Texts();
    phase.stop = Texts();
    phase.close = Tokens();
    if (odd && Sometimes(6)) phase.owed = OddNumber();
    phase.sampling.temperature = odd && Sometimes(6) ? OddFloat() : Pick<float>({0, 0.7F});
    if (odd && Sometimes(6)) phase.sampling.top_p = OddFloat();
    if (odd && Sometimes(6)) phase.sampling.min_p = OddFloat();
    if (odd && Sometimes(6)) phase.sampling.repetition_penalty = OddFloat();
    if (odd && Sometimes(6)) phase.sampling.presence_penalty = OddFloat();
    if (odd && Sometimes(6)) phase.sampling.penalty_window = OddNumber();
    if (odd && Sometimes(6)) phase.sampling.top_k = OddNumber();
    if (odd && Sometimes(6)) phase.sampling.logit_bias = {{OddNumber(), OddFloat()}};
    phase.sampling.seed = random_();
    if (Sometimes(5)) phase.probe = {.every = 2, .cue = Tokens(), .tokens = 3, .agree = 2};
    if (odd && Sometimes(6)) phase.probe.tokens = OddNumber();
    if (Sometimes(5)) phase.loop = {.max_period = 8, .repeats = 2, .min_tokens = 4};
    if (odd && Sometimes(6)) phase.loop.max_period = OddNumber();
    if (odd && Sometimes(6)) phase.loop.repeats = OddNumber();
    return phase;
  }

  void Open() {
    SequenceOptions options;
    options.priority = Sometimes(9) ? OddNumber() : static_cast<std::int32_t>(random_() % 3);
    options.arrival_ms = clock_->NowMs();
    if (Sometimes(2))
      options.deadline_ms = clock_->NowMs() + Pick<double>({-5, 0, 20, 90, 90, 200, 700});
    if (Sometimes(20)) options.deadline_ms = static_cast<double>(OddFloat());
    if (Sometimes(30)) options.arrival_ms = static_cast<double>(OddFloat());
    options.think_budget = Sometimes(6) ? OddNumber() : kUnlimited;
    options.stream = Sometimes(2);
    options.context_key = random_() % 2;
    options.prefix = Sometimes(3) ? static_cast<PrefixId>(random_() % 3) : kNoPrefix;
    sequences_[scheduler_->Open(options)] = {};
  }

  void AddPrefix() {
    const std::int32_t num = Pick<std::int32_t>({0, 1, 3, 7, 500});
    const std::vector<float> numbers(static_cast<std::size_t>(num), 0.5F);
    scheduler_->AddPrefix({.num_layers = 1,
                           .num_kv_heads = 1,
                           .num_positions = num,
                           .head_dim = Sometimes(9) ? OddNumber() : 1,
                           .keys = numbers,
                           .values = numbers});
    ++num_prefixes_;
  }

  SequenceId Any() {
    if (sequences_.empty() || Sometimes(50)) return OddNumber();
    auto at = sequences_.begin();
    std::advance(at, random_() % sequences_.size());
    return at->first;
  }

  // What it throws is ours, or a fault.
  void Command() try {
    switch (random_() % 12) {
      case 0:
      case 1:
        return Open();
      case 2:
      case 3:
      case 4: {
        const SequenceId id = Any();
        std::vector<Phase> chain;
        for (unsigned i = random_() % 4; i > 0 || chain.empty(); i -= i > 0 ? 1 : 0) {
          chain.push_back(OnePhase());
        }
        scheduler_->Run(id, std::move(chain));
        sequences_[id].running = true;
        return;
      }
      case 5:
        return scheduler_->StopThinking(Any());
      case 6:
        return Sometimes(3) ? scheduler_->Cancel(Any()) : Step();
      case 7: {
        const SequenceId id = Any();
        scheduler_->Close(id, Sometimes(2));
        sequences_.erase(id);
        return;
      }
      case 8:
        return Sometimes(8) ? AddPrefix() : Step();
      case 9:
        return clock_->Advance(Pick<double>({1, 10, 200}));
      default:
        return Step();
    }
  } catch (const Error& error) {
    Require(error.what()[0] != '\0', "an error without a text");
  }

  void Step() {
    scheduler_->Step();
    for (const Event& event : scheduler_->Take(0, 4096)) {
      if (event.kind == Event::Kind::kPhaseEnd) {
        ++num_phases_[static_cast<std::size_t>(event.result->reason)];
        delete event.result;
      }
      const auto found = sequences_.find(event.id);
      if (found == sequences_.end() || event.kind == Event::Kind::kText) continue;
      Require(event.kind != Event::Kind::kFailed, FaultText(event, engine_->last_error()));
      if (event.last) found->second.running = false;
    }
  }

  // Chains may be appended after the last event of the one before: ask the loop as well.
  bool AllOver() {
    for (const auto& [id, state] : sequences_) {
      if (state.running) return false;
    }
    return true;
  }

  static inline std::array<std::int64_t, kStopReasonNames.size()> num_phases_{};
  std::mt19937 random_;
  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  std::shared_ptr<ScriptedEngine> engine_;
  std::shared_ptr<ScriptedEngine> draft_;  // null: no model guesses
  std::unique_ptr<Scheduler> scheduler_;
  std::map<SequenceId, State> sequences_;
  int num_prefixes_ = 0;
};

bool Passes(std::uint32_t seed) {
  try {
    Run(seed).Play();
    return true;
  } catch (const std::exception& error) {
    std::printf("seed %u: %s\n", seed, error.what());
    return false;
  }
}

int Main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  if (argc > 2)
    return Passes(static_cast<std::uint32_t>(std::strtoul(argv[2], nullptr, 10))) ? 0 : 1;
  int num_failed = 0;
  std::uint32_t num_run = 0;
  const auto play = [&](std::uint32_t seed) {
    num_failed += Passes(seed) ? 0 : 1;
    ++num_run;
  };
  for (const std::uint32_t seed : kSeeds) play(seed);
  if (argc > 1) {
    const auto until = Clock::now() + std::chrono::seconds(std::atoi(argv[1]));
    std::uint32_t seed = std::random_device{}();
    while (Clock::now() < until) play(seed++);
  } else {
    for (std::uint32_t seed = 1000; seed < 1300; ++seed) play(seed);
  }
  Run::PrintReasons();
  std::printf("%u runs, %d failed\n", num_run, num_failed);
  return num_failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace edgereason

int main(int argc, char** argv) { return edgereason::Main(argc, argv); }
