// edgereason for C++17: the same calls with owners and exceptions. Header only.
//
//   er::Model model("model.gguf", {"think.json"});
//   er::Request request = model.Submit("What is 17 * 3?", {sizeof(er_ask)});
//   std::cout << request.Wait().answer << "\n";
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "edgereason.h"

namespace er {

class Error : public std::runtime_error {
 public:
  explicit Error(er_status status) : std::runtime_error(er_last_error()), status_(status) {}
  er_status status() const noexcept { return status_; }

 private:
  er_status status_;
};

inline void Check(er_status status) {
  if (status != ER_OK) throw Error(status);
}

// Must not outlive its model.
class Request {
 public:
  explicit Request(er_request* request) : request_(request) {}

  er_request* get() const noexcept { return request_.get(); }
  // Polls until it is over; for threads that have nothing else to do.
  er_result Wait() {
    while (er_wait(get(), 1000) == ER_NONE) {
    }
    er_result result = {sizeof(er_result)};
    Check(er_get_result(get(), &result));
    return result;
  }
  // None while it runs.
  std::optional<er_result> Result() {
    er_result result = {sizeof(er_result)};
    const er_status status = er_get_result(get(), &result);
    if (status == ER_NONE) return std::nullopt;
    Check(status);
    return result;
  }
  std::string BestAnswer() {
    std::string text(1024, '\0');
    Check(er_best_answer(get(), text.data(), text.size(), nullptr));
    text.resize(text.find('\0'));
    return text;
  }
  void StopThinking() { Check(er_stop_thinking(get())); }
  void Cancel() { Check(er_cancel(get())); }

 private:
  struct Free {
    void operator()(er_request* request) const noexcept { er_free(request); }
  };
  std::unique_ptr<er_request, Free> request_;
};

class Model {
 public:
  Model(const std::string& path, const std::vector<std::string>& plans,
        const er_open_options& options = {sizeof(er_open_options)}) {
    std::vector<const char*> names;
    for (const std::string& plan : plans) names.push_back(plan.c_str());
    er_model* model = nullptr;
    Check(er_open(path.c_str(), names.data(), names.size(), &options, &model));
    model_.reset(model);
  }

  er_model* get() const noexcept { return model_.get(); }
  Request Submit(const std::vector<er_message>& messages,
                 const er_ask& ask = {sizeof(er_ask)}) {
    er_request* request = nullptr;
    Check(er_submit(get(), messages.data(), messages.size(), &ask, &request));
    return Request(request);
  }
  Request Submit(const std::string& question, const er_ask& ask = {sizeof(er_ask)}) {
    return Submit({er_message{"user", question.c_str()}}, ask);
  }
  // False: none came.
  bool Poll(double timeout_ms, er_event* event) {
    event->size = sizeof(er_event);
    const er_status status = er_poll(get(), timeout_ms, event);
    if (status != ER_NONE) Check(status);
    return status == ER_OK;
  }

 private:
  struct Close {
    void operator()(er_model* model) const noexcept { er_close(model); }
  };
  std::unique_ptr<er_model, Close> model_;
};

}  // namespace er
