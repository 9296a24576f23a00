#include "model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <utility>

#include "llama_engine.h"
#include "policy/stop.h"

using edgereason::Budgets;
using edgereason::Channel;
using edgereason::Engine;
using edgereason::Error;
using edgereason::ErrorCode;
using edgereason::Event;
using edgereason::Fault;
using edgereason::LlamaOptions;
using edgereason::Phase;
using edgereason::PhaseResult;
using edgereason::Plan;
using edgereason::Said;
using edgereason::SequenceId;
using edgereason::Speaker;

static_assert(ER_TEXT_BYTES == Event::kTextBytes);

namespace {

constexpr std::int32_t kMaxRequests = 32;
constexpr std::int32_t kDraftedAtMost = 8;  // tokens a step, where nobody says how many

// The GGUF itself, or that of a bundle's folder.
std::string ModelFile(const std::string& path, const std::vector<Plan>& plans) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return path;
  const std::filesystem::path file(plans.front().file);
  const bool leads_out =
      file.is_absolute() || std::ranges::find(file, std::filesystem::path("..")) != file.end();
  if (file.empty() || leads_out) {
    throw Error(ErrorCode::kBundle, "the plan names a file outside of its model: " + file.string());
  }
  return (std::filesystem::path(path) / file).string();
}

LlamaOptions EngineOptions(const std::string& path, const std::vector<Plan>& plans,
                           const er_open_options& options) {
  LlamaOptions made;
  made.path = ModelFile(path, plans);
  made.context = options.context;
  made.kv_type = options.kv_q8 != 0 ? edgereason::KvType::kQ8_0 : edgereason::KvType::kF16;
  made.gpu_layers = options.cpu_only != 0 ? 0 : -1;
  if (options.sequences != 0) made.max_seqs = options.sequences;
  if (options.batch != 0) made.max_rows = options.batch;
  made.hidden = std::ranges::any_of(plans, &Plan::hidden);
  made.mmap = options.no_mmap == 0;
  made.memory_limit = static_cast<std::int64_t>(options.memory_limit);
  return made;
}

edgereason::SchedulerOptions LoopOptions(const er_open_options& options) {
  edgereason::SchedulerOptions made;
  made.num_threads = options.threads;
  if (options.num_cores > 0 && options.cores != nullptr) {
    made.thread.cores.assign(options.cores, options.cores + options.num_cores);
  }
  made.thread.nice = options.nice;
  made.thread.lock_memory = options.lock_memory != 0;
  const std::int32_t most_guesses = options.draft == nullptr ? 0 : kDraftedAtMost;
  made.lookahead = options.lookahead != 0 ? options.lookahead : most_guesses;
  return made;
}

// The model that guesses, open for as much at once as the one it guesses for; null where there is
// none.
std::shared_ptr<edgereason::Engine> Draft(const er_open_options& options,
                                          const edgereason::EngineInfo& beside) {
  if (options.draft == nullptr) return nullptr;
  LlamaOptions made;
  made.path = options.draft;
  made.context = beside.num_cells;
  made.max_seqs = beside.max_seqs;
  made.max_rows = beside.max_rows;
  made.gpu_layers = options.cpu_only != 0 ? 0 : -1;
  made.mmap = options.no_mmap == 0;
  return std::make_shared<edgereason::LlamaEngine>(made);
}

Said SaidOf(const er_message& message) {
  if (message.role == nullptr || message.text == nullptr) {
    throw Error(ErrorCode::kUsage, "a message needs a role and a text, got NULL");
  }
  for (const Speaker who : {Speaker::kSystem, Speaker::kUser, Speaker::kAssistant}) {
    if (edgereason::kSpeakerNames[static_cast<std::size_t>(who)] == message.role) {
      return {who, message.text};
    }
  }
  throw Error(ErrorCode::kUsage, std::string("no role is called ") + message.role,
              "system, user and assistant are");
}

Budgets BudgetsOf(const er_ask& ask, const Plan& plan) {
  if (ask.think_budget < ER_NO_THINKING) {
    throw Error(
        ErrorCode::kUsage,
        "think budget must be 0 (the plan's) or more, ER_UNLIMITED or ER_NO_THINKING, got " +
            std::to_string(ask.think_budget));
  }
  if (ask.answer_budget < 0) {
    throw Error(ErrorCode::kUsage, "answer budget must be 0 (the plan's) or more, got " +
                                       std::to_string(ask.answer_budget));
  }
  Budgets budgets = plan.budgets;
  if (ask.think_budget != 0) {
    budgets.think = ask.think_budget == ER_NO_THINKING ? 0 : ask.think_budget;
  }
  if (ask.answer_budget != 0) budgets.answer = ask.answer_budget;
  if (ask.seed != 0) budgets.seed = ask.seed;
  return budgets;
}

void SetText(std::string_view text, er_event* out) noexcept {
  std::ranges::copy(text, out->text);
  out->text[text.size()] = '\0';
  out->num_bytes = static_cast<std::uint32_t>(text.size());
}

}  // namespace

er_model::er_model(const std::string& path, std::vector<Plan> plans, const er_open_options& options)
    : plans_(std::move(plans)) {
  if (options.max_requests < 0) {
    throw Error(ErrorCode::kUsage,
                "max_requests must be 0 (32) or more, got " + std::to_string(options.max_requests));
  }
  engine_ = std::make_shared<edgereason::LlamaEngine>(EngineOptions(path, plans_, options));
  for (std::size_t i = 0; i < plans_.size(); ++i) {
    plans_[i].Bind(*engine_, static_cast<std::int32_t>(i));
  }
  const std::int32_t num = options.max_requests == 0 ? kMaxRequests : options.max_requests;
  for (std::int32_t i = 0; i < num; ++i) {
    places_.push_back(std::make_unique<er_request>());
    places_.back()->model = this;
  }
  scheduler_ = std::make_unique<edgereason::Scheduler>(
      engine_, std::make_shared<edgereason::SteadyClock>(), LoopOptions(options),
      Draft(options, engine_->info()));
  scheduler_->Start();
}

er_model::~er_model() {
  scheduler_->Stop();
  delete ending_.result;
}

// ---- asking

er_request* er_model::TakePlace() {
  const std::scoped_lock lock(mutex_);
  for (const auto& place : places_) {
    State free = State::kFree;
    if (place->state.compare_exchange_strong(free, State::kPreparing)) return place.get();
  }
  return nullptr;
}

er_request* er_model::Submit(std::span<const er_message> messages, const er_ask& ask) {
  const double now_ms = scheduler_->NowMs();
  std::vector<Said> said;
  for (const er_message& message : messages) said.push_back(SaidOf(message));
  er_request* const place = TakePlace();
  if (place == nullptr) return nullptr;
  try {
    place->arrival_ms = now_ms;
    Start(place, said, ask);
  } catch (...) {
    place->state = State::kFree;
    throw;
  }
  return place;
}

void er_model::Start(er_request* place, std::span<const Said> messages, const er_ask& ask) {
  if (ask.plan < 0 || ask.plan >= std::ssize(plans_)) {
    throw Error(ErrorCode::kUsage, "no plan " + std::to_string(ask.plan) + ", there are " +
                                       std::to_string(plans_.size()));
  }
  if (!std::isfinite(ask.deadline_ms) || ask.deadline_ms < 0) {
    throw Error(ErrorCode::kUsage, "deadline must be more than 0 ms, or 0 for none, got " +
                                       std::to_string(ask.deadline_ms));
  }
  const Plan& plan = plans_[static_cast<std::size_t>(ask.plan)];
  const Budgets budgets = BudgetsOf(ask, plan);
  std::vector<Phase> chain = plan.Chain(plan.Prompt(messages, *engine_), budgets);
  // The token after the last, and what a phase of thinking leaves over.
  const auto most_tokens =
      static_cast<std::size_t>(std::min(budgets.answer, engine_->info().num_cells)) + 2;
  place->Prepare(&plan, most_tokens * engine_->vocab().LongestPiece());
  place->user = ask.user;
  place->deadline_ms = ask.deadline_ms;
  place->keep = ask.keep != 0;
  const SequenceId id =
      scheduler_->Open({.priority = ask.priority,
                        .arrival_ms = place->arrival_ms,
                        .deadline_ms = ask.deadline_ms > 0 ? place->arrival_ms + ask.deadline_ms
                                                           : edgereason::kNever,
                        .think_budget = budgets.think,
                        .stream = true,
                        .tell_probes = true,
                        .prefix = ask.prefix});
  place->state = State::kRunning;
  place->id.store(id, std::memory_order_release);
  try {
    scheduler_->Run(id, std::move(chain));
  } catch (...) {
    place->id = 0;
    scheduler_->Close(id, false);
    throw;
  }
}

std::int32_t er_model::AddPrefix(const std::string& path) {
  const edgereason::PrefixFile prefix = edgereason::ReadPrefix(path, plans_.front().base);
  return scheduler_->AddPrefix(prefix.kv);
}

void er_model::Free(er_request* request) {
  const SequenceId id = request->id;
  request->abandoned = true;
  scheduler_->Close(id, request->keep);  // of one that runs it is an end, which the poller sees
  if (request->state == State::kDone) GiveBack(request);
}

// By er_free, or by the poller where it saw the end after that: whoever comes second.
void er_model::GiveBack(er_request* request) noexcept {
  State done = State::kDone;
  if (!request->abandoned || !request->state.compare_exchange_strong(done, State::kPreparing)) {
    return;
  }
  request->id = 0;
  request->state = State::kFree;
}

void er_model::ThrowFault(const er_request& request) const {
  const Event event{
      .kind = Event::Kind::kFailed, .fault = request.fault, .step = request.failed_step};
  const bool memory = request.fault == Fault::kMemory;
  throw Error(memory ? ErrorCode::kMemoryLimit : ErrorCode::kEngine,
              edgereason::FaultText(event, scheduler_->last_error()),
              request.fault == Fault::kEngine ? "close the model and open it anew" : "");
}

// ---- the thread that polls

er_request* er_model::Find(SequenceId id) noexcept {
  for (const auto& place : places_) {
    if (place->id.load(std::memory_order_acquire) == id) return place.get();
  }
  return nullptr;
}

er_status er_model::Poll(double timeout_ms, er_event* out) noexcept {
  if (polled_.exchange(true, std::memory_order_acquire)) return ER_BUSY;
  const double until_ms = scheduler_->NowMs() + timeout_ms;
  er_status status = ER_NONE;
  Event event;
  for (;;) {
    if (ending_.request != nullptr) {
      if (EndPhase(out)) status = ER_OK;
    } else if (scheduler_->TakeOne(timeout_ms > 0 ? until_ms - scheduler_->NowMs() : 0, &event)) {
      if (Handle(event, out)) status = ER_OK;
    } else {
      break;
    }
    if (status == ER_OK) break;
  }
  polled_.store(false, std::memory_order_release);
  return status;
}

// False: nothing to tell by itself.
bool er_model::Handle(const Event& event, er_event* out) noexcept {
  er_request* const request = Find(event.id);
  if (request == nullptr) {  // it was never handed out: er_submit failed
    delete event.result;
    return false;
  }
  *out = {};
  out->request = request;
  out->user = request->user;
  switch (event.kind) {
    case Event::Kind::kText: {
      const std::string_view text(event.text, event.num_bytes);
      const bool answers = event.channel == Channel::kAnswer;
      request->shown[static_cast<std::size_t>(event.channel)] += text.size();
      if (answers) request->answer.Add(text);
      out->kind = answers ? ER_EVENT_ANSWER : ER_EVENT_REASONING;
      SetText(text, out);
      break;
    }
    case Event::Kind::kProbe:
      request->probe.Set({event.text, event.num_bytes});
      out->kind = ER_EVENT_PROBE;
      SetText({event.text, event.num_bytes}, out);
      break;
    case Event::Kind::kPhaseEnd:
      ending_ = {request, event.result, event.last};
      return false;
    case Event::Kind::kFailed:
      request->failed = true;
      request->fault = event.fault;
      request->failed_step = event.step;
      out->kind = ER_EVENT_FAILED;
      request->Finish();
      break;
  }
  const bool told = !request->abandoned;
  if (event.kind == Event::Kind::kFailed) GiveBack(request);
  return told;
}

// One event of a phase that has ended: the rest of its texts, its end, the end of all.
bool er_model::EndPhase(er_event* out) noexcept {
  er_request* const request = ending_.request;
  *out = {};
  out->request = request;
  out->user = request->user;
  if (PhaseResult* const result = ending_.result; result != nullptr) {
    const Phase& phase = request->plan->phases[request->num_results].phase;
    const bool thinks = phase.thinks();
    if (TellRest(Channel::kReasoning, thinks ? result->text : result->reasoning, out)) return true;
    if (!thinks && TellRest(Channel::kAnswer, result->text, out)) return true;
    out->kind = ER_EVENT_PHASE;
    out->phase = static_cast<std::int32_t>(request->num_results);
    out->reason = static_cast<er_reason>(result->reason);
    request->Add(std::exchange(ending_.result, nullptr));
    if (!ending_.last) ending_.request = nullptr;
    return !request->abandoned;
  }
  ending_.request = nullptr;
  request->Finish();
  out->kind = ER_EVENT_DONE;
  out->reason = request->finish;
  const bool told = !request->abandoned;
  GiveBack(request);
  return told;
}

// Text that was held back, or found the ring full.
bool er_model::TellRest(Channel channel, const std::string& text, er_event* out) noexcept {
  er_request* const request = ending_.request;
  std::size_t& shown = request->shown[static_cast<std::size_t>(channel)];
  if (shown >= text.size() || request->abandoned) return false;
  std::string_view rest = std::string_view(text).substr(shown, Event::kTextBytes);
  rest.remove_suffix(static_cast<std::size_t>(edgereason::NumUnfinishedUtf8(rest)));
  if (rest.empty()) return false;  // half a character, at the end of a text that was cut
  shown += rest.size();
  const bool answers = channel == Channel::kAnswer;
  if (answers) request->answer.Add(rest);
  out->kind = answers ? ER_EVENT_ANSWER : ER_EVENT_REASONING;
  SetText(rest, out);
  return true;
}
