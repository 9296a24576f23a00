/* For tests: the calls that promise it neither allocate nor lock.
 *
 *   real_time MODEL PLAN
 *
 * Allocations and locks of this program are counted where the thread that polls is in such a call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <edgereason.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t num, size_t size);
extern void* __libc_realloc(void* memory, size_t size);
extern void __libc_free(void* memory);

static __thread int watched = 0; /* this thread is in a call that must do neither */
static long allocations = 0, frees = 0, locks = 0;

void* malloc(size_t size) { allocations += watched; return __libc_malloc(size); }
void* calloc(size_t num, size_t size) { allocations += watched; return __libc_calloc(num, size); }
void* realloc(void* old, size_t size) { allocations += watched; return __libc_realloc(old, size); }
void free(void* memory) { frees += watched; __libc_free(memory); }

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  static int (*next)(pthread_mutex_t*) = NULL;
  if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, "pthread_mutex_lock");
  locks += watched;
  return next(mutex);
}

static void check(er_status status) {
  if (status == ER_OK) return;
  fprintf(stderr, "%s\n", er_last_error());
  exit(1);
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const char* plans[] = {argv[2]};
  er_open_options options = {.size = sizeof options, .context = 512};
  er_model* model;
  check(er_open(argv[1], plans, 1, &options, &model));
  er_message question = {"user", "What is 47+8-23+60?"};
  long polls = 0;
  for (int round = 0; round < 20; ++round) {
    er_ask ask = {.size = sizeof ask};
    er_request* request;
    check(er_submit(model, &question, 1, &ask, &request));
    er_event event = {.size = sizeof event};
    char best[64];
    er_best from;
    for (int done = 0; !done; ++polls) {
      watched = 1;
      if (er_poll(model, 0, &event) == ER_OK) done = event.kind == ER_EVENT_DONE;
      check(er_best_answer(request, best, sizeof best, &from));
      watched = 0;
    }
    er_result result = {.size = sizeof result};
    er_phase phase = {.size = sizeof phase};
    watched = 1;
    check(er_get_result(request, &result));
    check(er_get_phase(request, er_num_phases(request) - 1, &phase));
    watched = 0;
    er_free(request);
  }
  /* The counting itself works. */
  watched = 1;
  er_stats stats = {.size = sizeof stats};
  check(er_get_stats(model, &stats));
  watched = 0;
  printf("%ld allocations, %ld frees, %ld locks besides that of er_get_stats\n", allocations, frees,
         locks - 1);
  er_close(model);
  return allocations == 0 && frees == 0 && locks == 1 && polls > 100 ? 0 : 1;
}
