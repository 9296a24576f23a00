/* edgereason for C: a reasoning model that answers within its budgets, without Python.
 *
 *   const char* plans[] = {"think.json"};         // of `edgereason export plan MODEL --way think`
 *   er_model* model;
 *   if (er_open("model.gguf", plans, 1, NULL, &model) != ER_OK) puts(er_last_error());
 *   er_message question = {"user", "What is 17 * 3?"};
 *   er_ask ask = {.size = sizeof ask, .deadline_ms = 500};
 *   er_request* request;
 *   er_submit(model, &question, 1, &ask, &request);
 *   er_event event = {.size = sizeof event};
 *   while (er_poll(model, 0, &event) == ER_OK) ...                // each tick of a control loop
 *   er_result result = {.size = sizeof result};
 *   if (er_get_result(request, &result) == ER_OK) puts(result.answer);
 *   er_free(request);
 *   er_close(model);
 *
 * Structs begin with their size, which the caller sets; all else may be 0, which means the default.
 * Later versions add fields at the end only. No call lets an exception out.
 *
 * Threads. "Real time" below means: no lock, nothing allocated, nothing waited for. er_poll is
 * called by one thread at a time; all else by any, but nothing while er_close runs.
 */
#ifndef EDGEREASON_H
#define EDGEREASON_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define ER_API __attribute__((visibility("default")))
#else
#define ER_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ER_ABI_VERSION 1 /* of this header; libedgereason.so.1 */
#define ER_UNLIMITED (-1)
#define ER_NO_THINKING (-2)
#define ER_TEXT_BYTES 48 /* of one event at most */

typedef struct er_model er_model;     /* an open model: its weights, its loop, its thread */
typedef struct er_request er_request; /* one question on its way */

typedef enum er_status {
  ER_OK = 0,
  ER_NONE = 1,            /* no event came; no result is there yet */
  ER_USAGE = 2,           /* a value makes no sense */
  ER_UNSUPPORTED = 3,     /* this plan, model or system cannot do it */
  ER_CONTEXT_FULL = 4,    /* prompt and answer can never fit the context */
  ER_MODEL_NOT_FOUND = 5, /* no such file */
  ER_BUNDLE = 6,          /* a file is damaged, or belongs to another model */
  ER_MEMORY_LIMIT = 7,
  ER_ENGINE = 8,   /* the engine has failed: close the model and open it anew */
  ER_BUSY = 9,     /* as many requests as max_requests are on their way; another thread polls */
  ER_INTERNAL = 10 /* a bug */
} er_status;

/* Why a phase, or a whole request, ended. */
typedef enum er_reason {
  ER_STOP = 0,    /* the model ended it */
  ER_BUDGET,      /* tokens are used up */
  ER_DEADLINE,    /* the rest of the time was owed to the answer, or over */
  ER_STABLE,      /* probes agree */
  ER_LOOP,        /* the same over and over */
  ER_CANCELLED,   /* er_cancel */
  ER_CONTEXT,     /* no KV cells left */
  ER_INTERRUPTED, /* er_stop_thinking; the answer still follows */
  ER_REFUSED      /* nothing begun: its deadline cannot be met beside the others */
} er_reason;

typedef enum er_event_kind {
  ER_EVENT_ANSWER = 0, /* `text` was added to the answer */
  ER_EVENT_REASONING,  /* `text` was added to the thoughts */
  ER_EVENT_PROBE,      /* `text` is what the model would answer now */
  ER_EVENT_PHASE,      /* phase number `phase` ended, for `reason` */
  ER_EVENT_DONE,       /* the result is there; nothing follows */
  ER_EVENT_FAILED      /* er_get_result says why; nothing follows */
} er_event_kind;

typedef struct er_open_options {
  size_t size;
  int32_t threads;      /* compute threads; 0: follow the load of the machine */
  int32_t context;      /* KV cells, shared by all; 0: what the model was trained for, to 8192 */
  int32_t sequences;    /* requests that hold KV side by side, 1 to 64; 0: 16 */
  int32_t batch;        /* tokens of one step at most; 0: 512 */
  int32_t max_requests; /* submitted and not yet freed, at most; 0: 32 */
  int32_t cpu_only;     /* 1: nothing on a GPU */
  int32_t kv_q8;        /* 1: the KV cache in 8 bits */
  int32_t no_mmap;      /* 1: read the file instead of mapping it */
  int32_t lock_memory;  /* 1: all memory of the process stays in RAM */
  int32_t nice;         /* of the decode threads, -20 to 19; 0: as it is */
  const int32_t* cores; /* cores that the decode threads may run on; none: any */
  size_t num_cores;
  uint64_t memory_limit; /* bytes that the model may take; 0: what is free */
  int32_t lookahead;     /* tokens guessed and checked in one step, at most 32; 0: none, 8 with a
                            draft */
  const char* draft;     /* file of a smaller model that guesses where the text says nothing; or
                            NULL. No token changes */
} er_open_options;

typedef struct er_message {
  const char* role; /* "system" (first only), "user", "assistant"; they end with a user's */
  const char* text; /* UTF-8; whatever it holds, it never becomes a control token */
} er_message;

typedef struct er_ask {
  size_t size;
  int32_t plan;          /* which of the plans given to er_open */
  int32_t think_budget;  /* tokens; 0: the plan's; ER_UNLIMITED; ER_NO_THINKING (docs/c.md) */
  int32_t answer_budget; /* tokens; 0: the plan's */
  int32_t priority;      /* higher is more urgent */
  double deadline_ms;    /* from this call to the end of the answer; 0: none */
  uint64_t seed;         /* 0: the plan's */
  int32_t prefix;        /* of er_add_prefix; 0: none */
  int32_t keep;          /* 1: keep the KV of this conversation for its next turn */
  void* user;            /* comes back in events */
} er_ask;

typedef struct er_event {
  size_t size;
  er_event_kind kind;
  er_reason reason; /* of ER_EVENT_PHASE and ER_EVENT_DONE */
  er_request* request;
  void* user;
  int32_t phase;                /* of ER_EVENT_PHASE: 0, 1, ... */
  uint32_t num_bytes;           /* of text */
  char text[ER_TEXT_BYTES + 1]; /* whole UTF-8 characters, ends with 0 */
} er_event;

typedef struct er_result {
  size_t size;
  const char* answer; /* without blanks around it, ends with 0; valid until er_free */
  size_t num_answer_bytes;
  er_reason finish;      /* what ended the request against the model's will; else ER_STOP */
  int32_t prompt_tokens; /* put in: prompts, and all that was forced */
  int32_t cached_tokens; /* of them, with KV that was there already */
  int32_t think_tokens;  /* sampled as thoughts, latent steps included */
  int32_t latent_tokens;
  int32_t answer_tokens;
  double queue_ms;   /* from er_submit to the first step */
  double total_ms;   /* to the end of the answer */
  double late_ms;    /* 0: in time, or no deadline */
  double confidence; /* of the answering phase, 0 to 1, as the Python runtime has it */
} er_result;

typedef struct er_phase {
  size_t size;
  const char* name; /* as in the plan; what follows is valid until er_free */
  er_reason reason;
  const char* text; /* as the model wrote it; ends with 0 */
  size_t num_bytes;
  const int32_t* tokens; /* that were sampled */
  size_t num_tokens;
  double ms; /* from its first step to its end */
} er_phase;

typedef struct er_stats {
  size_t size;
  int64_t num_steps;
  int64_t num_rows;
  int64_t num_sampled; /* tokens, probes included */
  double decode_ms;    /* inside the engine, over all steps */
  double sample_ms;
  double overhead_ms; /* planning, committing, events */
  double load;        /* of the machine: how much longer steps take than when it is idle */
  double step_ms;     /* expected of a step with one row */
  int32_t num_threads;
  int32_t num_free_cells;
  int32_t num_active; /* requests with something to do */
  int32_t num_waiting;
  double longest_ms; /* the longest of all steps */
} er_stats;

/* Where the best answer so far is from. */
typedef enum er_best {
  ER_BEST_NONE = 0, /* there is none yet */
  ER_BEST_PROBE,    /* what the model would have answered at its last probe */
  ER_BEST_PARTIAL,  /* the answer as far as it is written */
  ER_BEST_FINAL
} er_best;

/* ---- what is wrong */

ER_API uint32_t er_abi_version(void);
ER_API const char* er_version(void);
ER_API const char* er_status_name(er_status status);
ER_API const char* er_reason_name(er_reason reason);
/* What the last call of this thread that did not return ER_OK or ER_NONE had to say: what is wrong,
 * and in brackets the way out. */
ER_API const char* er_last_error(void);

/* ---- a model */

/* Opens a GGUF, or the folder of a bundle, for these plans, which must be of one model. Waits until
 * it is ready: seconds. `options` may be NULL. */
ER_API er_status er_open(const char* model, const char* const* plans, size_t num_plans,
                         const er_open_options* options, er_model** out);
/* Ends what runs and frees all requests. NULL is no error. */
ER_API void er_close(er_model* model);
/* Loads a trained prefix (`.safetensors`); waits for the end of a step. */
ER_API er_status er_add_prefix(er_model* model, const char* file, int32_t* out);
/* As of the last step. Takes a lock that the loop never waits for. */
ER_API er_status er_get_stats(er_model* model, er_stats* out);

/* ---- requests */

/* Copies all that it is given. Tokenizes the prompt and allocates, and waits for nothing. */
ER_API er_status er_submit(er_model* model, const er_message* messages, size_t num_messages,
                           const er_ask* ask, er_request** out);
/* The next event of any request; ER_NONE where none came within `timeout_ms`. Real time where that
 * is 0. Requests move on whether they are polled or not, but what they did is seen by polling. */
ER_API er_status er_poll(er_model* model, double timeout_ms, er_event* out);
/* Polls until this request is over; events of all requests are used up. ER_NONE: it is not. */
ER_API er_status er_wait(er_request* request, double timeout_ms);
/* The best answer there is now, cut to whole characters where it does not fit; ends with 0. Any
 * thread, real time. `where_from` may be NULL. */
ER_API er_status er_best_answer(er_request* request, char* text, size_t capacity,
                                er_best* where_from);
/* ER_NONE while it runs; the error where it failed. Real time where it succeeds. */
ER_API er_status er_get_result(er_request* request, er_result* out);
/* The phases that have ended: their texts, thoughts among them. Real time. */
ER_API size_t er_num_phases(er_request* request);
ER_API er_status er_get_phase(er_request* request, size_t index, er_phase* out);
/* Within one step. They take a lock that the loop holds for a moment only. */
ER_API er_status er_stop_thinking(er_request* request); /* the answer follows */
ER_API er_status er_cancel(er_request* request);        /* the result is what there is */
/* Gives the request back, and cancels it where it runs. NULL is no error. */
ER_API void er_free(er_request* request);

#ifdef __cplusplus
}
#endif
#endif
