// An open model behind the C interface: engine, scheduler, plans, and places for requests.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "edgereason.h"
#include "edgereason/scheduler.h"
#include "plan.h"
#include "request.h"

struct er_model {
 public:
  // Throws what the engine, the plans and the scheduler throw.
  er_model(const std::string& path, std::vector<edgereason::Plan> plans,
           const er_open_options& options);
  ~er_model();
  er_model(const er_model&) = delete;
  er_model& operator=(const er_model&) = delete;

  er_request* Submit(std::span<const er_message> messages, const er_ask& ask);
  er_status Poll(double timeout_ms, er_event* out) noexcept;
  std::int32_t AddPrefix(const std::string& path);
  void Free(er_request* request);
  // What ended a request that failed. Throws it.
  [[noreturn]] void ThrowFault(const er_request& request) const;

  edgereason::Scheduler& scheduler() noexcept { return *scheduler_; }

 private:
  using State = er_request::State;

  er_request* TakePlace();
  void Start(er_request* place, std::span<const edgereason::Said> messages, const er_ask& ask);
  er_request* Find(edgereason::SequenceId id) noexcept;
  bool Handle(const edgereason::Event& event, er_event* out) noexcept;
  bool EndPhase(er_event* out) noexcept;
  bool TellRest(edgereason::Channel channel, const std::string& text, er_event* out) noexcept;
  void GiveBack(er_request* request) noexcept;

  std::shared_ptr<edgereason::Engine> engine_;
  std::vector<edgereason::Plan> plans_;
  std::unique_ptr<edgereason::Scheduler> scheduler_;
  std::mutex mutex_;  // guards which places are free
  std::vector<std::unique_ptr<er_request>> places_;
  std::atomic<bool> polled_{false};

  // A phase that has ended and is yet to be told: first the rest of its texts. Of the poller.
  struct Ending {
    er_request* request = nullptr;              // null: none
    edgereason::PhaseResult* result = nullptr;  // null: told, but not yet that all is done
    bool last = false;
  };
  Ending ending_;
};
