/* For tests: the tokens of many conversations.
 *
 *   [DRAFT=MODEL] tokens MODEL PLAN CONVERSATIONS THINK ANSWER [PREFIX]
 *
 * Of CONVERSATIONS a line is a message: its role, a tab, its text, in which \n stands for a line
 * break and \\ for a backslash; an empty line ends a conversation. Prints a line for each: the
 * tokens of its phases, with | between those, a tab, and the answer written as above.
 */
#include <edgereason.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 16

static char texts[MOST][1 << 16];
static er_message messages[MOST];
static size_t num_messages;

static void fail(const char* what) {
  fprintf(stderr, "%s: %s: %s\n", what, "failed", er_last_error());
  exit(1);
}

static void unescape(char* text) {
  char* to = text;
  for (; *text != '\0' && *text != '\n'; ++text) {
    if (*text == '\\') *to++ = *++text == 'n' ? '\n' : *text;
    else *to++ = *text;
  }
  *to = '\0';
}

static void print_escaped(const char* text) {
  for (; *text != '\0'; ++text) {
    if (*text == '\n') fputs("\\n", stdout);
    else if (*text == '\\') fputs("\\\\", stdout);
    else putchar(*text);
  }
}

static void answer(er_model* model, const er_ask* ask) {
  er_request* request;
  const er_status status = er_submit(model, messages, num_messages, ask, &request);
  if (status != ER_OK) {
    printf("%s\t%s\n", er_status_name(status), er_last_error());
    return;
  }
  while (er_wait(request, 1000) == ER_NONE) {
  }
  er_result result = {.size = sizeof result};
  if (er_get_result(request, &result) != ER_OK) fail("result");
  for (size_t i = 0; i < er_num_phases(request); ++i) {
    er_phase phase = {.size = sizeof phase};
    if (er_get_phase(request, i, &phase) != ER_OK) fail("phase");
    if (i > 0) fputs("| ", stdout);
    for (size_t t = 0; t < phase.num_tokens; ++t) printf("%d ", phase.tokens[t]);
  }
  putchar('\t');
  print_escaped(result.answer);
  putchar('\n');
  er_free(request);
}

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  er_open_options options = {.size = sizeof options, .threads = 1, .context = 2048};
  options.draft = getenv("DRAFT");
  er_model* model;
  const char* plans[] = {argv[2]};
  if (er_open(argv[1], plans, 1, &options, &model) != ER_OK) fail("open");
  er_ask ask = {.size = sizeof ask};
  ask.think_budget = atoi(argv[4]);
  ask.answer_budget = atoi(argv[5]);
  if (argc > 6 && er_add_prefix(model, argv[6], &ask.prefix) != ER_OK) fail("prefix");
  FILE* file = fopen(argv[3], "r");
  if (file == NULL) return 2;
  char line[1 << 16];
  while (fgets(line, sizeof line, file) != NULL) {
    char* const tab = strchr(line, '\t');
    if (tab == NULL) { /* the end of a conversation */
      answer(model, &ask);
      num_messages = 0;
      continue;
    }
    *tab = '\0';
    unescape(tab + 1);
    memcpy(texts[num_messages], line, sizeof line);
    messages[num_messages].role = texts[num_messages];
    messages[num_messages].text = texts[num_messages] + (tab + 1 - line);
    ++num_messages;
  }
  fclose(file);
  er_close(model);
  return 0;
}
