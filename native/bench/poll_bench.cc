// How long er_poll takes a control loop while the model thinks, and what else the library costs it:
// page faults once it is warm, and er_submit.
//
//   poll_bench MODEL PLAN [REQUESTS] [CORE] [LOCK]
//
// The loop polls without a pause for a time, which is the worst for the loop of the model, then
// every millisecond. Prints one JSON object.
#include <edgereason.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

namespace {

double NowUs() {
  using Us = std::chrono::duration<double, std::micro>;
  return Us(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void Check(er_status status) {
  if (status == ER_OK) return;
  std::fprintf(stderr, "%s\n", er_last_error());
  std::exit(1);
}

struct Faults {
  long minor = 0;
  long major = 0;
};

Faults FaultsNow() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {usage.ru_minflt, usage.ru_majflt};
}

struct Loop {
  er_model* model;
  double pause_us = 0;
  std::vector<double> polls{};  // microseconds
  std::vector<double> submits{};
  long tokens = 0;

  // One request to its end, polled from here.
  void Ask(uint64_t seed) {
    const er_message question{"user", "Why do ships float? Explain it step by step."};
    er_ask ask{};
    ask.size = sizeof(ask);
    ask.think_budget = 96;
    ask.answer_budget = 32;
    ask.seed = seed;
    er_request* request = nullptr;
    const double submit_us = NowUs();
    Check(er_submit(model, &question, 1, &ask, &request));
    submits.push_back(NowUs() - submit_us);
    er_event event{};
    event.size = sizeof(event);
    for (bool done = false; !done;) {
      const double begin_us = NowUs();
      const er_status status = er_poll(model, 0, &event);
      const double took_us = NowUs() - begin_us;
      if (polls.size() < polls.capacity()) polls.push_back(took_us);
      if (status == ER_OK) {
        done = event.kind == ER_EVENT_DONE || event.kind == ER_EVENT_FAILED;
      } else if (pause_us > 0) {
        const timespec pause{0, static_cast<long>(pause_us * 1000)};
        nanosleep(&pause, nullptr);
      }
    }
    er_result result{};
    result.size = sizeof(result);
    Check(er_get_result(request, &result));
    tokens += result.think_tokens + result.answer_tokens;
    er_free(request);
  }
};

double Quantile(std::vector<double>* values, double q) {
  if (values->empty()) return 0;
  const auto at = static_cast<std::size_t>(q * static_cast<double>(values->size() - 1));
  std::nth_element(values->begin(), values->begin() + static_cast<std::ptrdiff_t>(at),
                   values->end());
  return (*values)[at];
}

void Print(const char* name, Loop* loop, const Faults& before) {
  const Faults after = FaultsNow();
  std::printf(
      "\"%s\": {\"polls\": %zu, \"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, "
      "\"max_us\": %.1f, \"submit_p50_us\": %.0f, \"submit_max_us\": %.0f, \"tokens\": %ld, "
      "\"minor_faults\": %ld, \"major_faults\": %ld}",
      name, loop->polls.size(), Quantile(&loop->polls, 0.5), Quantile(&loop->polls, 0.99),
      Quantile(&loop->polls, 0.999), Quantile(&loop->polls, 1), Quantile(&loop->submits, 0.5),
      Quantile(&loop->submits, 1), loop->tokens, after.minor - before.minor,
      after.major - before.major);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const int num = argc > 3 ? std::atoi(argv[3]) : 10;
  const int32_t core = argc > 4 ? std::atoi(argv[4]) : -1;
  er_open_options options{};
  options.size = sizeof(options);
  options.context = 1024;
  options.threads = 1;
  options.lock_memory = argc > 5 ? std::atoi(argv[5]) : 0;
  if (core >= 0) {
    options.cores = &core;
    options.num_cores = 1;
  }
  er_model* model = nullptr;
  const char* plans[] = {argv[2]};
  Check(er_open(argv[1], plans, 1, &options, &model));
  Loop warm{model, 1000};
  warm.Ask(1);
  warm.Ask(2);
  std::printf("{");
  for (const double pause_us : {0.0, 1000.0}) {
    Loop loop{model, pause_us};
    loop.polls.assign(std::size_t{1} << 22, 0);  // touched now
    loop.polls.clear();
    loop.submits.reserve(static_cast<std::size_t>(num));
    const Faults before = FaultsNow();
    for (int i = 0; i < num; ++i) loop.Ask(static_cast<uint64_t>(3 + i));
    Print(pause_us > 0 ? "each_ms" : "without_pause", &loop, before);
    if (pause_us == 0) std::printf(", ");
  }
  std::printf("}\n");
  er_close(model);
  return 0;
}
