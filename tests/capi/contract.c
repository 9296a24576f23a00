/* For tests: what the header promises, one check a line. Prints the first that does not hold.
 *
 *   contract MODEL PLAN OTHER_PLAN PREFIX [ROUNDS]
 *
 * PLAN thinks, with a probe every few tokens. OTHER_PLAN is of another model. ROUNDS: of what is done
 * many times; 20.
 */
#include <edgereason.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLDS(what)                                                        \
  do {                                                                     \
    if (!(what)) {                                                         \
      fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #what, er_last_error()); \
      exit(1);                                                             \
    }                                                                      \
  } while (0)
#define SAYS(text) (strstr(er_last_error(), text) != NULL)

static er_message question = {"user", "What is 47+8-23+60?"};

static er_status submit(er_model* model, const er_ask* ask, er_request** out) {
  return er_submit(model, &question, 1, ask, out);
}

static void finish(er_request* request) {
  while (er_wait(request, 1000) == ER_NONE) {
  }
}

static void names(void) {
  HOLDS(er_abi_version() == ER_ABI_VERSION);
  HOLDS(strcmp(er_version(), "") != 0);
  HOLDS(strcmp(er_status_name(ER_CONTEXT_FULL), "context_full") == 0);
  HOLDS(strcmp(er_status_name(ER_INTERNAL), "internal") == 0);
  HOLDS(strcmp(er_status_name((er_status)99), "unknown") == 0);
  HOLDS(strcmp(er_reason_name(ER_REFUSED), "refused") == 0);
  HOLDS(strcmp(er_reason_name((er_reason)99), "unknown") == 0);
}

static void opening(const char* path, const char* plan, const char* other) {
  er_model* model;
  const char* plans[] = {plan};
  const char* missing[] = {"nowhere.json"};
  const char* no_plan[] = {path};
  const char* others[] = {other};
  HOLDS(er_open(NULL, plans, 1, NULL, &model) == ER_USAGE);
  HOLDS(er_open(path, plans, 0, NULL, &model) == ER_USAGE);
  HOLDS(er_open("nowhere.gguf", plans, 1, NULL, &model) == ER_MODEL_NOT_FOUND && model == NULL);
  HOLDS(er_open(path, missing, 1, NULL, &model) == ER_MODEL_NOT_FOUND && SAYS("export plan"));
  HOLDS(er_open(path, no_plan, 1, NULL, &model) == ER_BUNDLE);
  HOLDS(er_open(path, others, 1, NULL, &model) == ER_BUNDLE && SAYS("another model"));
  er_open_options options = {.size = 0};
  HOLDS(er_open(path, plans, 1, &options, &model) == ER_USAGE && SAYS("size"));
  options.size = sizeof options;
  options.sequences = 65;
  HOLDS(er_open(path, plans, 1, &options, &model) == ER_USAGE && SAYS("65"));
  options.sequences = 0;
  options.nice = 20;
  HOLDS(er_open(path, plans, 1, &options, &model) == ER_USAGE && SAYS("20"));
  options.nice = 0;
  int32_t core = 4096;
  options.cores = &core;
  options.num_cores = 1;
  HOLDS(er_open(path, plans, 1, &options, &model) == ER_USAGE && SAYS("4096"));
  er_status opened = ER_USAGE;
  for (core = 0; core < 4096 && opened == ER_USAGE; ++core) { /* the first that we may use */
    opened = er_open(path, plans, 1, &options, &model);
  }
  HOLDS(opened == ER_OK);
  er_close(model);
  er_close(NULL);
}

/* Callers of another age: a struct that ends early, and one that goes on. */
static void sizes(er_model* model) {
  er_request* request;
  er_ask ask = {.size = offsetof(er_ask, priority)};
  ask.deadline_ms = -1; /* beyond its size: not looked at */
  HOLDS(submit(model, &ask, &request) == ER_OK);
  finish(request);
  er_result shorter = {.size = offsetof(er_result, finish)};
  shorter.total_ms = -7;
  HOLDS(er_get_result(request, &shorter) == ER_OK);
  HOLDS(shorter.answer != NULL && shorter.total_ms == -7);
  HOLDS(er_get_result(request, &(er_result){.size = 0}) == ER_USAGE);
  er_free(request);
  struct {
    er_ask ask;
    int64_t more;
  } longer = {.ask = {.size = sizeof longer}};
  HOLDS(submit(model, &longer.ask, &request) == ER_OK);
  finish(request);
  er_free(request);
  longer.more = 1;
  HOLDS(submit(model, &longer.ask, &request) == ER_UNSUPPORTED && SAYS("newer"));
}

static void values(er_model* model) {
  er_request* request;
  er_ask ask = {.size = sizeof ask, .plan = 1};
  HOLDS(submit(model, &ask, &request) == ER_USAGE && SAYS("no plan 1"));
  ask = (er_ask){.size = sizeof ask, .think_budget = -3};
  HOLDS(submit(model, &ask, &request) == ER_USAGE && SAYS("-3"));
  ask = (er_ask){.size = sizeof ask, .answer_budget = -1};
  HOLDS(submit(model, &ask, &request) == ER_USAGE && SAYS("-1"));
  ask = (er_ask){.size = sizeof ask, .answer_budget = 1000000};
  HOLDS(submit(model, &ask, &request) == ER_CONTEXT_FULL);
  ask = (er_ask){.size = sizeof ask, .deadline_ms = NAN};
  HOLDS(submit(model, &ask, &request) == ER_USAGE && SAYS("deadline"));
  ask = (er_ask){.size = sizeof ask, .prefix = 9};
  HOLDS(submit(model, &ask, &request) == ER_USAGE && SAYS("no prefix 9"));
  const er_message empty = {"user", ""}, wrong = {"robot", "hi"}, binary = {"user", "\xff"};
  const er_message answers[] = {{"user", "hi"}, {"assistant", "hello"}};
  const er_message thought[] = {
      {"user", "hi"}, {"assistant", "<think>\nhm\n</think>\n\nhello"}, {"user", "hi"}};
  ask = (er_ask){.size = sizeof ask};
  HOLDS(er_submit(model, &empty, 1, &ask, &request) == ER_USAGE && SAYS("empty"));
  HOLDS(er_submit(model, &wrong, 1, &ask, &request) == ER_USAGE && SAYS("robot"));
  HOLDS(er_submit(model, &binary, 1, &ask, &request) == ER_USAGE && SAYS("UTF-8"));
  HOLDS(er_submit(model, answers, 2, &ask, &request) == ER_USAGE && SAYS("follow"));
  HOLDS(er_submit(model, thought, 3, &ask, &request) == ER_UNSUPPORTED && SAYS("thoughts"));
  HOLDS(er_submit(model, &empty, 0, &ask, &request) == ER_USAGE);
  HOLDS(er_add_prefix(model, "nowhere.safetensors", &ask.prefix) == ER_MODEL_NOT_FOUND);
  HOLDS(er_poll(NULL, 0, &(er_event){.size = sizeof(er_event)}) == ER_USAGE);
  HOLDS(er_poll(model, 0, &(er_event){.size = 0}) == ER_USAGE);
}

/* Events of one request in order: texts, phases, the end; what they hold is what results hold. */
static void events(er_model* model) {
  er_request* request;
  int mine = 0, phases = 0, probes = 0, done = 0;
  char answer[4096] = "", thoughts[4096] = "";
  er_ask ask = {.size = sizeof ask, .user = &mine};
  HOLDS(submit(model, &ask, &request) == ER_OK);
  HOLDS(er_get_result(request, &(er_result){.size = sizeof(er_result)}) == ER_NONE);
  er_event event = {.size = sizeof event};
  while (!done) {
    if (er_poll(model, 1000, &event) != ER_OK) continue;
    HOLDS(event.user == &mine && event.request == request);
    HOLDS(strlen(event.text) == event.num_bytes);
    if (event.kind == ER_EVENT_ANSWER) strcat(answer, event.text);
    if (event.kind == ER_EVENT_REASONING) strcat(thoughts, event.text);
    if (event.kind == ER_EVENT_PROBE) ++probes;
    if (event.kind == ER_EVENT_PHASE) HOLDS(event.phase == phases++);
    done = event.kind == ER_EVENT_DONE;
  }
  HOLDS(er_poll(model, 0, &event) == ER_NONE);
  HOLDS(probes > 0 && phases == 2 && er_num_phases(request) == 2);
  er_phase phase = {.size = sizeof phase};
  HOLDS(er_get_phase(request, 0, &phase) == ER_OK && strcmp(phase.text, thoughts) == 0);
  HOLDS(strcmp(phase.name, "think") == 0 && phase.num_tokens > 0);
  HOLDS(er_get_phase(request, 1, &phase) == ER_OK && strcmp(phase.text, answer) == 0);
  HOLDS(er_get_phase(request, 2, &phase) == ER_USAGE);
  er_result result = {.size = sizeof result};
  HOLDS(er_get_result(request, &result) == ER_OK && (result.finish == ER_STOP || result.finish == ER_STABLE));
  HOLDS(strstr(answer, result.answer) != NULL && strlen(result.answer) == result.num_answer_bytes);
  HOLDS(result.think_tokens > 0 && result.answer_tokens > 0 && result.prompt_tokens > 0);
  HOLDS(result.total_ms > 0 && result.late_ms == 0 && result.confidence > 0);
  char best[4];
  er_best from;
  HOLDS(er_best_answer(request, best, sizeof best, &from) == ER_OK && from == ER_BEST_FINAL);
  HOLDS(strncmp(best, result.answer, strlen(best)) == 0);
  er_free(request);
  er_free(NULL);
}

static void ends(er_model* model) {
  er_request* request;
  er_ask ask = {.size = sizeof ask};
  HOLDS(submit(model, &ask, &request) == ER_OK);
  HOLDS(er_cancel(request) == ER_OK);
  finish(request);
  er_result result = {.size = sizeof result};
  HOLDS(er_get_result(request, &result) == ER_OK && result.finish == ER_CANCELLED);
  HOLDS(er_cancel(request) == ER_OK);
  er_free(request);
  HOLDS(submit(model, &ask, &request) == ER_OK);
  HOLDS(er_stop_thinking(request) == ER_OK);
  finish(request);
  HOLDS(er_get_result(request, &result) == ER_OK && result.finish == ER_INTERRUPTED);
  HOLDS(result.num_answer_bytes > 0);
  er_free(request);
  ask.deadline_ms = 0.001; /* over before the first step */
  HOLDS(submit(model, &ask, &request) == ER_OK);
  finish(request);
  HOLDS(er_get_result(request, &result) == ER_OK && result.finish == ER_DEADLINE);
  HOLDS(result.late_ms > 0);
  er_free(request);
}

/* Of two requests at a time there is room for, and those freed while they run give it back. */
static void places(er_model* model, int rounds) {
  er_request* requests[3];
  er_ask ask = {.size = sizeof ask};
  for (int round = 0; round < rounds; ++round) {
    HOLDS(submit(model, &ask, &requests[0]) == ER_OK);
    HOLDS(submit(model, &ask, &requests[1]) == ER_OK);
    HOLDS(submit(model, &ask, &requests[2]) == ER_BUSY && SAYS("max_requests"));
    er_free(requests[0]); /* it runs */
    finish(requests[1]);
    er_free(requests[1]);
    er_event event = {.size = sizeof event};
    while (er_poll(model, 20, &event) == ER_OK) HOLDS(event.request == requests[1]);
  }
  er_stats stats = {.size = sizeof stats};
  HOLDS(er_get_stats(model, &stats) == ER_OK && stats.num_active == 0 && stats.num_steps > 0);
}

static void* wait_long(void* request) {
  while (er_wait(request, 50) == ER_NONE) {
  }
  return NULL;
}

/* One thread polls; others look, from anywhere. */
static void threads(er_model* model, int rounds) {
  er_request* request;
  er_ask ask = {.size = sizeof ask, .seed = 3};
  for (int round = 0; round < rounds; ++round) {
    HOLDS(submit(model, &ask, &request) == ER_OK);
    pthread_t poller;
    HOLDS(pthread_create(&poller, NULL, wait_long, request) == 0);
    char best[64] = "";
    er_best from = ER_BEST_NONE;
    while (from != ER_BEST_FINAL) {
      HOLDS(er_best_answer(request, best, sizeof best, &from) == ER_OK);
    }
    HOLDS(pthread_join(poller, NULL) == 0);
    HOLDS(best[0] != '\0');
    er_free(request);
  }
}

static void prefixes(er_model* model, const char* file) {
  er_request* request;
  er_ask ask = {.size = sizeof ask};
  HOLDS(er_add_prefix(model, file, &ask.prefix) == ER_OK && ask.prefix > 0);
  HOLDS(submit(model, &ask, &request) == ER_OK);
  finish(request);
  er_free(request);
}

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const int rounds = argc > 5 ? atoi(argv[5]) : 20;
  names();
  opening(argv[1], argv[2], argv[3]);
  const char* plans[] = {argv[2]};
  er_open_options options = {.size = sizeof options, .max_requests = 2};
  er_model* model;
  HOLDS(er_open(argv[1], plans, 1, &options, &model) == ER_OK);
  sizes(model);
  values(model);
  events(model);
  ends(model);
  places(model, rounds);
  threads(model, rounds);
  prefixes(model, argv[4]);
  er_close(model);
  puts("all hold");
  return 0;
}
