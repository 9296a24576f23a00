/* For tests: the calls that promise it neither allocate nor lock, nor touch a new page once warm.
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
#include <sys/resource.h>

static __thread int watched = 0; /* this thread is in a call that must do neither */
static long allocations = 0, frees = 0, locks = 0; /* of that thread alone */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* A sanitizer has a malloc of its own, which tells. */
int __sanitizer_install_malloc_and_free_hooks(void (*of_malloc)(const volatile void*, size_t),
                                              void (*of_free)(const volatile void*));
static void allocated(const volatile void* memory, size_t size) {
  (void)memory, (void)size;
  if (watched) ++allocations;
}
static void freed(const volatile void* memory) {
  (void)memory;
  if (watched) ++frees;
}
static long page_faults(void) { return 0; } /* it has pages of its own */
static int counts(void) { return __sanitizer_install_malloc_and_free_hooks(allocated, freed) != 0; }
#else
extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t num, size_t size);
extern void* __libc_realloc(void* memory, size_t size);
extern void __libc_free(void* memory);

void* malloc(size_t size) {
  if (watched) ++allocations;
  return __libc_malloc(size);
}
void* calloc(size_t num, size_t size) {
  if (watched) ++allocations;
  return __libc_calloc(num, size);
}
void* realloc(void* old, size_t size) {
  if (watched) ++allocations;
  return __libc_realloc(old, size);
}
void free(void* memory) {
  if (watched) ++frees;
  __libc_free(memory);
}
static long page_faults(void) { /* of this thread */
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}
static int counts(void) { return 1; }
#endif

#if defined(__SANITIZE_THREAD__) /* which must see the lock where it sees the unlock: not counted */
enum { locks_of_stats = 0 };
#else
enum { locks_of_stats = 1 };
int pthread_mutex_lock(pthread_mutex_t* mutex) {
  static int (*next)(pthread_mutex_t*) = NULL;
  if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, "pthread_mutex_lock");
  if (watched) ++locks;
  return next(mutex);
}
#endif

static void check(er_status status) {
  if (status == ER_OK) return;
  fprintf(stderr, "%s\n", er_last_error());
  exit(1);
}

int main(int argc, char** argv) {
  if (argc < 3 || !counts()) return 2;
  const char* plans[] = {argv[2]};
  er_open_options options = {.size = sizeof options, .context = 512};
  er_model* model;
  check(er_open(argv[1], plans, 1, &options, &model));
  er_message question = {"user", "What is 47+8-23+60?"};
  long polls = 0, faults = 0;
  for (int round = 0; round < 20; ++round) {
    er_ask ask = {.size = sizeof ask};
    er_request* request;
    check(er_submit(model, &question, 1, &ask, &request));
    const long faults_before = page_faults();
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
    if (round >= 2) faults += page_faults() - faults_before;
    er_free(request);
  }
  /* The counting itself works. */
  watched = 1;
  er_stats stats = {.size = sizeof stats};
  check(er_get_stats(model, &stats));
  watched = 0;
  printf("%ld allocations, %ld frees, %ld locks besides that of er_get_stats, %ld page faults\n",
         allocations, frees, locks - locks_of_stats, faults);
  er_close(model);
  const int none = allocations == 0 && frees == 0 && locks == locks_of_stats && faults == 0;
  return none && polls > 100 ? 0 : 1;
}
