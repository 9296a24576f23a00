// The C interface: checks of what callers hand in, structs of their size, errors as codes and text.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include "edgereason.h"
#include "edgereason/error.h"
#include "model.h"

namespace {

using edgereason::Error;
using edgereason::ErrorCode;

constexpr std::size_t kMostPlans = 64;
constexpr std::size_t kMostMessages = 4096;

// Of this thread. An array, so that telling an error allocates nothing.
thread_local char last_error[1024] = "";

er_status Fail(er_status status, const char* message, const char* hint = "") noexcept {
  const char* const format = hint[0] == '\0' ? "%s" : "%s (%s)";
  std::snprintf(last_error, sizeof(last_error), format, message, hint);
  return status;
}

er_status StatusOf(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kUsage:
      return ER_USAGE;
    case ErrorCode::kUnsupported:
      return ER_UNSUPPORTED;
    case ErrorCode::kContextFull:
      return ER_CONTEXT_FULL;
    case ErrorCode::kModelNotFound:
      return ER_MODEL_NOT_FOUND;
    case ErrorCode::kBundle:
      return ER_BUNDLE;
    case ErrorCode::kMemoryLimit:
      return ER_MEMORY_LIMIT;
    case ErrorCode::kEngine:
      return ER_ENGINE;
  }
  return ER_INTERNAL;
}

// No exception leaves the library.
template <typename Work>
er_status Contained(Work work) noexcept {
  try {
    return work();
  } catch (const Error& error) {
    return Fail(StatusOf(error.code()), error.what(), error.hint().c_str());
  } catch (const std::bad_alloc&) {
    return Fail(ER_MEMORY_LIMIT, "out of memory");
  } catch (const std::exception& error) {
    return Fail(ER_INTERNAL, error.what(), "this is a bug of edgereason");
  } catch (...) {
    return Fail(ER_INTERNAL, "an unknown exception", "this is a bug of edgereason");
  }
}

void Require(bool ok, const char* what) {
  if (!ok) throw Error(ErrorCode::kUsage, what);
}

// A caller's struct in our size: what an older caller does not have is 0, what a newer one has
// beyond ours must be 0.
template <typename Struct>
Struct Sized(const Struct* from) {
  Struct sized{};
  if (from == nullptr) return sized;
  const std::size_t size = from->size;
  Require(size >= sizeof(size), "the size of a struct is not set: .size = sizeof(the struct)");
  std::memcpy(&sized, from, std::min(size, sizeof(Struct)));
  if (size > sizeof(Struct)) {
    const auto* const bytes = reinterpret_cast<const char*>(from);
    if (std::any_of(bytes + sizeof(Struct), bytes + size, [](char byte) { return byte != 0; })) {
      throw Error(ErrorCode::kUnsupported, "an option of a newer edgereason.h is set",
                  "install the library that belongs to the header");
    }
  }
  return sized;
}

// False: the size of `to` is not set.
template <typename Struct>
bool Give(const Struct& from, Struct* to) noexcept {
  if (to == nullptr || to->size < sizeof(to->size)) return false;
  const std::size_t num_bytes = std::min(to->size, sizeof(Struct)) - sizeof(to->size);
  std::memcpy(reinterpret_cast<char*>(to) + sizeof(to->size),
              reinterpret_cast<const char*>(&from) + sizeof(to->size), num_bytes);
  return true;
}

er_status NoSize() noexcept {
  return Fail(ER_USAGE, "a struct to be filled is NULL, or its size is not set");
}

er_status NoRequest() noexcept { return Fail(ER_USAGE, "the request is NULL"); }

bool IsDone(const er_request* request) noexcept {
  return request->state.load(std::memory_order_acquire) == er_request::State::kDone;
}

}  // namespace

// ---- what is wrong

uint32_t er_abi_version(void) { return ER_ABI_VERSION; }

const char* er_version(void) { return EDGEREASON_VERSION; }

const char* er_status_name(er_status status) {
  static constexpr const char* kNames[] = {
      "ok",     "none",         "usage",  "unsupported", "context_full", "model_not_found",
      "bundle", "memory_limit", "engine", "busy",        "internal"};
  const auto index = static_cast<std::size_t>(status);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

const char* er_reason_name(er_reason reason) {
  const auto index = static_cast<std::size_t>(reason);
  const auto& names = edgereason::kStopReasonNames;  // literals, which end with 0
  return index < names.size() ? names[index].data() : "unknown";
}

const char* er_last_error(void) { return last_error; }

// ---- a model

er_status er_open(const char* model, const char* const* plans, size_t num_plans,
                  const er_open_options* options, er_model** out) {
  return Contained([&] {
    Require(model != nullptr && plans != nullptr && out != nullptr, "model, plans or out is NULL");
    Require(num_plans >= 1 && num_plans <= kMostPlans, "a model is opened with 1 to 64 plans");
    *out = nullptr;
    std::vector<edgereason::Plan> read;
    for (std::size_t i = 0; i < num_plans; ++i) {
      Require(plans[i] != nullptr, "a plan is NULL");
      read.push_back(edgereason::ReadPlan(plans[i]));
    }
    *out = std::make_unique<er_model>(model, std::move(read), Sized(options)).release();
    return ER_OK;
  });
}

void er_close(er_model* model) { delete model; }

er_status er_add_prefix(er_model* model, const char* file, int32_t* out) {
  return Contained([&] {
    Require(model != nullptr && file != nullptr && out != nullptr, "model, file or out is NULL");
    *out = model->AddPrefix(file);
    return ER_OK;
  });
}

er_status er_get_stats(er_model* model, er_stats* out) {
  return Contained([&] {
    Require(model != nullptr, "the model is NULL");
    const edgereason::SchedulerStats now = model->scheduler().stats();
    er_stats stats{};
    stats.num_steps = now.num_steps;
    stats.num_rows = now.num_rows;
    stats.num_sampled = now.num_sampled;
    stats.decode_ms = now.decode_ms;
    stats.sample_ms = now.sample_ms;
    stats.overhead_ms = now.overhead_ms;
    stats.load = now.load;
    stats.step_ms = now.step_ms;
    stats.num_threads = now.num_threads;
    stats.num_free_cells = now.num_free_cells;
    stats.num_active = now.num_active;
    stats.num_waiting = now.num_waiting;
    stats.longest_ms = now.longest_ms;
    return Give(stats, out) ? ER_OK : NoSize();
  });
}

// ---- requests

er_status er_submit(er_model* model, const er_message* messages, size_t num_messages,
                    const er_ask* ask, er_request** out) {
  return Contained([&] {
    Require(model != nullptr && messages != nullptr && out != nullptr,
            "model, messages or out is NULL");
    Require(num_messages >= 1 && num_messages <= kMostMessages,
            "a conversation has 1 to 4096 messages");
    *out = model->Submit({messages, num_messages}, Sized(ask));
    if (*out != nullptr) return ER_OK;
    return Fail(ER_BUSY, "as many requests as max_requests are on their way",
                "free those that are done, or open the model with more");
  });
}

er_status er_poll(er_model* model, double timeout_ms, er_event* out) {
  if (model == nullptr) return Fail(ER_USAGE, "the model is NULL");
  if (out == nullptr || out->size < sizeof(out->size)) return NoSize();
  er_event event;
  const er_status status = model->Poll(timeout_ms, &event);
  if (status == ER_OK) (void)Give(event, out);
  if (status == ER_BUSY) return Fail(ER_BUSY, "another thread polls this model");
  return status;
}

er_status er_wait(er_request* request, double timeout_ms) {
  if (request == nullptr) return NoRequest();
  er_model* const model = request->model;
  const double until_ms = model->scheduler().NowMs() + timeout_ms;
  er_event event;
  while (!IsDone(request)) {
    const double left_ms = until_ms - model->scheduler().NowMs();
    const er_status status = model->Poll(left_ms, &event);
    if (status == ER_BUSY) return Fail(ER_BUSY, "another thread polls this model");
    if (status == ER_NONE && left_ms <= 0) return ER_NONE;
  }
  return ER_OK;
}

er_status er_best_answer(er_request* request, char* text, size_t capacity, er_best* where_from) {
  if (request == nullptr || text == nullptr || capacity == 0) {
    return Fail(ER_USAGE, "the request or the text is NULL, or has no room");
  }
  er_best from = ER_BEST_NONE;
  request->Best(text, capacity, &from);
  if (where_from != nullptr) *where_from = from;
  return ER_OK;
}

er_status er_get_result(er_request* request, er_result* out) {
  if (request == nullptr) return NoRequest();
  if (!IsDone(request)) return ER_NONE;
  if (request->failed) {
    return Contained([&]() -> er_status { request->model->ThrowFault(*request); });
  }
  return Give(request->Report(), out) ? ER_OK : NoSize();
}

size_t er_num_phases(er_request* request) {
  return request == nullptr ? 0 : request->num_results.load(std::memory_order_acquire);
}

er_status er_get_phase(er_request* request, size_t index, er_phase* out) {
  if (request == nullptr) return NoRequest();
  const edgereason::PhaseResult* const result = request->Result(index);
  if (result == nullptr) return Fail(ER_USAGE, "that phase has not ended, or does not exist");
  er_phase phase{};
  phase.name = request->plan->phases[index].name.c_str();
  phase.reason = static_cast<er_reason>(result->reason);
  phase.text = result->text.c_str();
  phase.num_bytes = result->text.size();
  phase.tokens = result->tokens.data();
  phase.num_tokens = result->tokens.size();
  phase.ms = result->prefill_ms + result->decode_ms;
  return Give(phase, out) ? ER_OK : NoSize();
}

er_status er_stop_thinking(er_request* request) {
  return Contained([&] {
    Require(request != nullptr, "the request is NULL");
    if (!IsDone(request)) request->model->scheduler().StopThinking(request->id);
    return ER_OK;
  });
}

er_status er_cancel(er_request* request) {
  return Contained([&] {
    Require(request != nullptr, "the request is NULL");
    if (!IsDone(request)) request->model->scheduler().Cancel(request->id);
    return ER_OK;
  });
}

void er_free(er_request* request) {
  if (request == nullptr) return;
  (void)Contained([&] {
    request->model->Free(request);
    return ER_OK;
  });
}
