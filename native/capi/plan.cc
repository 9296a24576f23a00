#include "plan.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "edgereason/error.h"

namespace edgereason {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFormat = "edgereason-plan-1";
constexpr std::uintmax_t kMostBytes = 16 << 20;
constexpr std::int32_t kKindsOfAPlan = 1024;  // more than a chain has phases

template <typename Enum, std::size_t kNum>
Enum Named(const std::string& name, const std::array<std::string_view, kNum>& names) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) throw Error(ErrorCode::kBundle, "it has an unknown word: " + name);
  return static_cast<Enum>(found - names.begin());
}

std::int32_t Number(const Json& from, const char* key, std::int32_t least) {
  const Json& value = from.at(key);
  const bool whole = value.is_number_integer();
  if (!whole || value < least || value > std::numeric_limits<std::int32_t>::max()) {
    throw Error(ErrorCode::kBundle, std::string(key) + " must be a whole number from " +
                                        std::to_string(least) + " on, got " + value.dump());
  }
  return value.get<std::int32_t>();
}

std::vector<std::string> Texts(const Json& from, const char* key) {
  return from.at(key).get<std::vector<std::string>>();
}

Sampling ReadSampling(const Json& from) {
  Sampling sampling{.temperature = from.at("temperature").get<float>(),
                    .top_k = Number(from, "top_k", 0),
                    .top_p = from.at("top_p").get<float>(),
                    .min_p = from.at("min_p").get<float>(),
                    .repetition_penalty = from.at("repetition_penalty").get<float>(),
                    .presence_penalty = from.at("presence_penalty").get<float>(),
                    .penalty_window = Number(from, "penalty_window", 0),
                    .seed = from.at("seed").get<std::uint64_t>()};
  for (const auto& [token, bias] : from.at("logit_bias").items()) {
    sampling.logit_bias.push_back({std::stoi(token), bias.get<float>()});
  }
  return sampling;
}

BudgetRule ReadBudget(const Json& from) {
  constexpr std::array<std::string_view, 3> kNames = {"nothing", "think", "answer"};
  return {.of = Named<BudgetRule::Of>(from.at("of").get<std::string>(), kNames),
          .most = Number(from, "most", kUnlimited)};
}

PlanPhase ReadPhase(const Json& from) {
  PlanPhase read{.name = from.at("name").get<std::string>(),
                 .force = from.at("force").get<std::string>(),
                 .close = from.at("close").get<std::string>(),
                 .budget = ReadBudget(from.at("budget"))};
  Phase& phase = read.phase;
  phase.role = Named<Role>(from.at("role").get<std::string>(), kRoleNames);
  phase.latent = Number(from, "latent", 0);
  phase.retract = from.at("retract").get<bool>();
  phase.soft = from.at("soft").get<float>();
  phase.brake = from.at("brake").get<float>();
  phase.open = Texts(from, "open");
  phase.shut = Texts(from, "shut");
  phase.stop = Texts(from, "stop");
  phase.sampling = ReadSampling(from.at("sampling"));
  if (const Json& probe = from.at("probe"); !probe.is_null()) {
    read.cue = probe.at("cue").get<std::string>();
    phase.probe.every = Number(probe, "every", 1);
    phase.probe.tokens = Number(probe, "tokens", 1);
    phase.probe.agree = Number(probe, "agree", 1);
    phase.probe.sure = probe.at("sure").get<double>();
  }
  if (const Json& loop = from.at("loop"); !loop.is_null()) {
    phase.loop = {.max_period = Number(loop, "max_period", 1),
                  .repeats = Number(loop, "repeats", 2),
                  .min_tokens = Number(loop, "min_tokens", 0)};
  }
  return read;
}

void ReadConversation(const Json& from, Conversation* read) {
  for (const Json& piece : from.at("between")) {
    const auto before = Named<Speaker>(piece.at("before").get<std::string>(), kSpeakerNames);
    const auto after = Named<Speaker>(piece.at("after").get<std::string>(), kSpeakerNames);
    read->Between(before, after) = piece.at("text").get<std::string>();
  }
  constexpr std::array<std::string_view, 3> kLosses = {"", "newlines", "blanks"};
  for (const Json& trim : from.at("trims")) {
    const auto who = Named<Speaker>(trim.at("role").get<std::string>(), kSpeakerNames);
    read->trims[static_cast<std::size_t>(who)] = {
        .left = Named<Loss>(trim.at("left").get<std::string>(), kLosses),
        .right = Named<Loss>(trim.at("right").get<std::string>(), kLosses)};
  }
  read->tail = Texts(from, "tail");
  read->cut_after = Texts(from, "cut_after");
  read->unsaid = Texts(from, "unsaid");
  read->acted_on = Texts(from, "acted_on");
  read->Guard(Texts(from, "guarded"));
}

PlanCheck ReadCheck(const Json& from) {
  PlanCheck check;
  for (const Json& message : from.at("messages")) {
    check.messages.emplace_back(
        Named<Speaker>(message.at("role").get<std::string>(), kSpeakerNames),
        message.at("text").get<std::string>());
  }
  check.tokens = from.at("tokens").get<std::vector<Token>>();
  return check;
}

Plan PlanOf(const Json& from) {
  if (from.at("format").get<std::string>() != kFormat) {
    throw Error(ErrorCode::kBundle, "its format is " + from.at("format").dump() +
                                        ", this library reads " + std::string(kFormat));
  }
  const Json& model = from.at("model");
  const Json& budgets = from.at("budgets");
  Plan plan;
  plan.way = from.at("way").get<std::string>();
  plan.file = model.at("file").get<std::string>();
  plan.base = model.at("base").get<std::string>();
  plan.hidden = from.at("hidden").get<bool>();
  plan.mark = from.at("mark").get<std::string>();
  plan.budgets.think = Number(budgets, "think", kUnlimited);
  plan.budgets.answer = Number(budgets, "answer", 1);
  plan.fixed_think = budgets.at("fixed_think").get<bool>();
  plan.needs_think = budgets.at("needs_think").get<bool>();
  ReadConversation(from.at("conversation"), &plan.conversation);
  for (const Json& phase : from.at("phases")) plan.phases.push_back(ReadPhase(phase));
  for (const Json& check : from.at("checks")) plan.checks.push_back(ReadCheck(check));
  const auto answers = [](const PlanPhase& one) { return one.phase.role == Role::kAnswer; };
  if (plan.phases.empty() || !answers(plan.phases.back()) ||
      std::ranges::count_if(plan.phases, answers) != 1 || plan.phases.size() >= kKindsOfAPlan) {
    throw Error(ErrorCode::kBundle, "its last phase, and no other, must be the answer");
  }
  plan.budgets.seed = plan.phases.back().phase.sampling.seed;
  return plan;
}

std::string ReadAll(const std::string& path) {
  std::error_code missing;
  const std::uintmax_t size = std::filesystem::file_size(path, missing);
  std::ifstream file(path, std::ios::binary);
  if (missing || !file) {
    throw Error(ErrorCode::kModelNotFound, "no such plan: " + path,
                "make one with: edgereason export plan MODEL --way think --out plan.json");
  }
  if (size > kMostBytes) throw Error(ErrorCode::kBundle, path + " is too large for a plan");
  std::string text(static_cast<std::size_t>(size), '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

std::vector<Said> SaidBy(const std::vector<std::pair<Speaker, std::string>>& messages) {
  std::vector<Said> said;
  for (const auto& [who, text] : messages) said.push_back({who, text});
  return said;
}

}  // namespace

std::int32_t BudgetRule::Tokens(const Budgets& budgets) const noexcept {
  if (of == Of::kNothing) return most;
  const std::int32_t given = of == Of::kThink ? budgets.think : budgets.answer;
  if (most == kUnlimited) return given;
  return given == kUnlimited ? most : std::min(given, most);
}

Plan ReadPlan(const std::string& path) {
  const std::string text = ReadAll(path);
  const auto damaged = [&](const std::string& what) {
    return Error(ErrorCode::kBundle, path + " is no plan that can be used: " + what,
                 "make it anew with: edgereason export plan");
  };
  try {
    Plan plan = PlanOf(Json::parse(text));
    plan.path = path;
    return plan;
  } catch (const Json::exception& error) {
    throw damaged(error.what());
  } catch (const std::logic_error& error) {  // of std::stoi
    throw damaged(error.what());
  } catch (const Error& error) {
    throw damaged(error.what());
  }
}

void Plan::Bind(const Engine& engine, std::int32_t index) {
  const auto ids = [&](const std::string& text) {
    return text.empty() ? std::vector<Token>() : TokenizeOn(engine, text, true);
  };
  for (std::size_t i = 0; i < phases.size(); ++i) {
    Phase& phase = phases[i].phase;
    phase.force = ids(phases[i].force);
    phase.close = ids(phases[i].close);
    phase.probe.cue = ids(phases[i].cue);
    // 0 is for all kinds together.
    phase.kind = index * kKindsOfAPlan + static_cast<std::int32_t>(i) + 1;
  }
  for (const PlanCheck& check : checks) {
    if (Prompt(SaidBy(check.messages), engine) == check.tokens) continue;
    throw Error(ErrorCode::kBundle,
                path +
                    " was made for another model: this one has other tokens, or splits texts "
                    "in another way",
                "make it anew with: edgereason export plan");
  }
}

std::vector<Token> Plan::Tokens(std::span<const Said> messages, const Engine& engine) const {
  return PromptTokens(conversation.Fill(messages), engine);
}

// Of the template, whatever the messages say.
std::int64_t Plan::NumOwnControl(std::span<const Said> messages, const Engine& engine) const {
  std::vector<Said> harmless(messages.begin(), messages.end());
  for (Said& message : harmless) message.text = "x";
  return NumControl(Tokens(harmless, engine), engine.vocab());
}

std::vector<Token> Plan::Prompt(std::span<const Said> messages, const Engine& engine) const {
  std::vector<Token> tokens = Tokens(messages, engine);
  // Nothing should come this far: lookalikes were cut. This holds whatever they were.
  if (NumControl(tokens, engine.vocab()) != NumOwnControl(messages, engine)) {
    throw Error(ErrorCode::kUsage, "a text of this conversation would become a control token",
                "take what looks like one out of the messages");
  }
  return tokens;
}

std::vector<Phase> Plan::Chain(std::vector<Token> prompt, const Budgets& given) const {
  if (fixed_think && given.think != budgets.think) {
    throw Error(ErrorCode::kUnsupported,
                "this plan (" + way + ") tells the model its thinking budget of " +
                    std::to_string(budgets.think) + ", got " + std::to_string(given.think),
                "make a plan for that budget: edgereason export plan --think-budget");
  }
  if (needs_think && given.think == 0) {
    throw Error(ErrorCode::kUnsupported, "this plan (" + way + ") cannot do without thinking",
                "use a plan of the way no-think");
  }
  std::vector<Phase> chain;
  for (const PlanPhase& one : phases) {
    Phase& phase = chain.emplace_back(one.phase);
    phase.budget = one.budget.Tokens(given);
    phase.sampling.seed = given.seed;
  }
  chain.front().fresh = std::move(prompt);
  return chain;
}

}  // namespace edgereason
