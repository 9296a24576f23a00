// A compiled plan: one way of answering with one model, as `edgereason export plan` writes it.
//
//   Plan plan = ReadPlan("think.json");
//   plan.Bind(engine);                                 // its texts are tokens now
//   std::vector<Token> prompt = plan.Prompt(messages, engine);
//   scheduler.Run(id, plan.Chain(prompt, {.think = 128, .answer = 64}));
//
// Everything that Python knows of the model and the way is in the file, so that nothing else needs
// to be read here. Prefixes trained for the model are read here as well.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "conversation.h"
#include "edgereason/engine.h"
#include "edgereason/phase.h"

namespace edgereason {

struct Budgets {
  std::int32_t think = kUnlimited;  // tokens
  std::int32_t answer = 256;
  std::uint64_t seed = 0;
};

// Where the budget of a phase comes from.
struct BudgetRule {
  enum class Of : std::uint8_t { kNothing, kThink, kAnswer };
  Of of = Of::kNothing;
  std::int32_t most = kUnlimited;  // not more than this

  std::int32_t Tokens(const Budgets& budgets) const noexcept;
};

// A phase whose texts are not tokens yet.
struct PlanPhase {
  std::string name = {};
  Phase phase = {};
  std::string force = {};
  std::string close = {};
  std::string cue = {};  // of its probe
  BudgetRule budget = {};
};

struct PlanCheck {  // a conversation, and what its tokens must be
  std::vector<std::pair<Speaker, std::string>> messages;
  std::vector<Token> tokens;
};

class Plan {
 public:
  std::string path;
  std::string way;
  std::string file;          // of the model in the folder of its bundle
  std::string base;          // names the weights; see PrefixFile
  bool hidden = false;       // the engine must give hidden states
  std::string mark;          // the answer is what follows its last occurrence; "": all of it
  Budgets budgets;           // where a caller names none
  bool fixed_think = false;  // the budget is part of the prompt: no other will do
  bool needs_think = false;  // a budget of 0 is another way
  Conversation conversation;
  std::vector<PlanPhase> phases;  // the last one answers
  std::vector<PlanCheck> checks;

  // Makes tokens of its texts. `index` tells the kinds of answers of several plans apart. Throws
  // kBundle where the model is another than the plan was made for.
  void Bind(const Engine& engine, std::int32_t index);

  // Throws what Conversation::Fill and PromptTokens throw.
  std::vector<Token> Prompt(std::span<const Said> messages, const Engine& engine) const;
  // Throws kUnsupported on a thinking budget that the plan does not have.
  std::vector<Phase> Chain(std::vector<Token> prompt, const Budgets& budgets) const;

 private:
  std::vector<Token> Tokens(std::span<const Said> messages, const Engine& engine) const;
  std::int64_t NumOwnControl(std::span<const Said> messages, const Engine& engine) const;
};

// Throws kModelNotFound, kBundle.
Plan ReadPlan(const std::string& path);

// A trained prefix as `edgereason distill-prefix` writes it.
struct PrefixFile {
  PrefixKv kv;                 // points into numbers
  std::vector<float> numbers;  // keys, then values
};
// `base`: what Plan::base says. Throws kModelNotFound, kBundle where the file is damaged or was
// trained for other weights.
PrefixFile ReadPrefix(const std::string& path, const std::string& base);

}  // namespace edgereason
