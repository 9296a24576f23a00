/* Answers a question within a deadline, from a loop that has other things to do.
 *
 *   answer MODEL PLAN QUESTION [DEADLINE_MS]
 *
 * PLAN is written by `edgereason export plan MODEL --way think --out PLAN`.
 */
#include <edgereason.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, er_last_error());
  return EXIT_FAILURE;
}

int main(int argc, char** argv) {
  if (argc < 4) return fprintf(stderr, "answer MODEL PLAN QUESTION [DEADLINE_MS]\n"), 2;
  const char* plans[] = {argv[2]};
  er_open_options options = {.size = sizeof options, .context = 1024, .sequences = 2};
  er_model* model = NULL;
  if (er_open(argv[1], plans, 1, &options, &model) != ER_OK) return fail("open");

  er_message question = {.role = "user", .text = argv[3]};
  er_ask ask = {.size = sizeof ask, .answer_budget = 32};
  ask.deadline_ms = argc > 4 ? atof(argv[4]) : 1000;
  er_request* request = NULL;
  if (er_submit(model, &question, 1, &ask, &request) != ER_OK) return fail("submit");

  er_event event = {.size = sizeof event};
  int done = 0;
  while (!done) { /* each tick, of 1 ms: look what has come, never wait for it */
    while (!done && er_poll(model, 0, &event) == ER_OK) {
      if (event.kind == ER_EVENT_REASONING) fputs(event.text, stderr);
      done = event.kind == ER_EVENT_DONE || event.kind == ER_EVENT_FAILED;
    }
    /* Here a robot moves: er_best_answer says at any moment what the model would say now. */
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }

  er_result result = {.size = sizeof result};
  if (er_get_result(request, &result) != ER_OK) return fail("result");
  printf("%s\n", result.answer);
  fprintf(stderr, "\nthought %d tokens, answered %d, ended by %s, %.0f ms, late by %.1f ms\n",
          result.think_tokens, result.answer_tokens, er_reason_name(result.finish), result.total_ms,
          result.late_ms);
  er_free(request);
  er_close(model);
  return EXIT_SUCCESS;
}
