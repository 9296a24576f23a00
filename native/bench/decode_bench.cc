// A bare loop over libllama: what a model does on this machine with nothing around it.
//
//   decode_bench MODEL [--prompt 64] [--decode 256] [--threads 2] [--batch 1]
//                [--context 4096] [--seconds 0] [--skip 0]
//
// Reads a made-up prompt in steps of at most 512 tokens, then takes the likeliest token `decode`
// times in each of `batch` sequences that share the prompt, or until `seconds` (0: no limit) are
// over; the first `skip` seconds are not counted. Opens the model as engines/llama.cc does. Prints
// a table, and one JSON object on its last line.
#include <ggml.h>
#include <llama.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::int32_t kMaxRows = 512;

struct Options {
  std::string model;
  std::int32_t prompt = 64;
  std::int32_t decode = 256;
  std::int32_t threads = 2;
  std::int32_t batch = 1;
  std::int32_t context = 4096;
  std::int32_t seconds = 0;  // 0: no limit
  std::int32_t skip = 0;     // seconds
};

struct Figures {
  double prompt_ms = 0;
  double decode_ms = 0;
  std::vector<double> step_ms;  // the prompt's last row gives the first token without a step
};

struct ModelDeleter {
  void operator()(llama_model* model) const { llama_model_free(model); }
};
struct ContextDeleter {
  void operator()(llama_context* context) const { llama_free(context); }
};
struct Batch {
  explicit Batch(std::int32_t num) : rows(llama_batch_init(num, 0, 1)) {}
  ~Batch() { llama_batch_free(rows); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  void Add(llama_token token, std::int32_t pos, std::int32_t seq, bool output) {
    const std::int32_t i = rows.n_tokens++;
    rows.token[i] = token;
    rows.pos[i] = pos;
    rows.n_seq_id[i] = 1;
    rows.seq_id[i][0] = seq;
    rows.logits[i] = output ? 1 : 0;
  }

  llama_batch rows;
};

double NowMs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(now).count();
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (!name.starts_with("--")) {
      options.model = name;
      continue;
    }
    std::int32_t* value = name == "--prompt"    ? &options.prompt
                          : name == "--decode"  ? &options.decode
                          : name == "--threads" ? &options.threads
                          : name == "--batch"   ? &options.batch
                          : name == "--context" ? &options.context
                          : name == "--seconds" ? &options.seconds
                          : name == "--skip"    ? &options.skip
                                                : nullptr;
    if (value == nullptr) throw std::runtime_error("unknown option " + std::string(name));
    if (i + 1 == argc) throw std::runtime_error(std::string(name) + " needs a number");
    *value = std::atoi(argv[++i]);
    if (*value < 1) throw std::runtime_error(std::string(name) + " must be 1 or more");
  }
  if (options.model.empty()) throw std::runtime_error("which model? give the path of a .gguf");
  if (options.batch > 64) throw std::runtime_error("--batch must be at most 64");
  if (options.prompt + options.batch * options.decode > options.context) {
    throw std::runtime_error("prompt and tokens do not fit into --context");
  }
  return options;
}

class Loop {
 public:
  explicit Loop(const Options& options) : options_(options), batch_(kMaxRows) {
    llama_model_params model_params = llama_model_default_params();
    model_.reset(llama_model_load_from_file(options.model.c_str(), model_params));
    if (!model_) throw std::runtime_error("cannot load " + options.model);
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<std::uint32_t>(options.context);
    params.n_batch = params.n_ubatch = kMaxRows;
    params.n_seq_max = static_cast<std::uint32_t>(options.batch);
    params.n_outputs_max = static_cast<std::uint32_t>(options.batch);
    params.n_threads = params.n_threads_batch = options.threads;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_AUTO;
    params.type_k = params.type_v = GGML_TYPE_F16;
    params.kv_unified = true;
    context_.reset(llama_init_from_model(model_.get(), params));
    if (!context_) throw std::runtime_error("cannot make a context");
    num_vocab_ = llama_vocab_n_tokens(llama_model_get_vocab(model_.get()));
  }

  // The first pass reads the weights from disk and is thrown away.
  Figures Run() {
    Prompt(std::min(options_.prompt, 8));
    Decode(2, nullptr);
    Figures figures;
    double begin_ms = NowMs();
    Prompt(options_.prompt);
    figures.prompt_ms = NowMs() - begin_ms;
    begin_ms = NowMs();
    Decode(options_.decode - 1, &figures.step_ms);
    figures.decode_ms = NowMs() - begin_ms;
    Skip(&figures);
    return figures;
  }

 private:
  // Early steps have fewer tokens before them, and are faster.
  void Skip(Figures* figures) const {
    double skipped_ms = 0;
    auto step = figures->step_ms.begin();
    while (step != figures->step_ms.end() && skipped_ms < 1000.0 * options_.skip) {
      skipped_ms += *step++;
    }
    figures->step_ms.erase(figures->step_ms.begin(), step);
    figures->decode_ms -= skipped_ms;
  }

  void Step() {
    if (llama_decode(context_.get(), batch_.rows) != 0) throw std::runtime_error("decoding failed");
  }

  llama_token Likeliest(std::int32_t row) const {
    const float* logits = llama_get_logits_ith(context_.get(), row);
    std::int32_t best = 0;
    for (std::int32_t i = 1; i < num_vocab_; ++i) {
      if (logits[i] > logits[best]) best = i;
    }
    return best;
  }

  void Prompt(std::int32_t num) {
    llama_memory_t memory = llama_get_memory(context_.get());
    llama_memory_clear(memory, true);
    for (std::int32_t done = 0; done < num;) {
      batch_.rows.n_tokens = 0;
      while (done < num && batch_.rows.n_tokens < kMaxRows) {
        // Any tokens do: the time of a step does not depend on which.
        batch_.Add((1000 + 37 * done) % num_vocab_, done, 0, done + 1 == num);
        ++done;
      }
      Step();
    }
    for (std::int32_t seq = 1; seq < options_.batch; ++seq) {
      llama_memory_seq_cp(memory, 0, seq, 0, num);
    }
    tokens_.assign(static_cast<std::size_t>(options_.batch), Likeliest(batch_.rows.n_tokens - 1));
    pos_ = num;
  }

  void Decode(std::int32_t num_steps, std::vector<double>* step_ms) {
    const double end_ms = options_.seconds > 0 ? NowMs() + 1000.0 * options_.seconds : 0;
    for (std::int32_t step = 0; step < num_steps; ++step) {
      const double begin_ms = NowMs();
      if (end_ms > 0 && begin_ms >= end_ms) break;
      batch_.rows.n_tokens = 0;
      for (std::int32_t seq = 0; seq < options_.batch; ++seq) {
        batch_.Add(tokens_[static_cast<std::size_t>(seq)], pos_, seq, true);
      }
      Step();
      for (std::int32_t seq = 0; seq < options_.batch; ++seq) {
        tokens_[static_cast<std::size_t>(seq)] = Likeliest(seq);
      }
      ++pos_;
      if (step_ms != nullptr) step_ms->push_back(NowMs() - begin_ms);
    }
  }

  const Options options_;
  std::unique_ptr<llama_model, ModelDeleter> model_;
  std::unique_ptr<llama_context, ContextDeleter> context_;
  Batch batch_;
  std::int32_t num_vocab_ = 0;
  std::int32_t pos_ = 0;
  std::vector<llama_token> tokens_;  // of each sequence, the next to decode
};

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void Print(const Options& options, const Figures& figures) {
  const double prompt_rate = 1000.0 * options.prompt / figures.prompt_ms;
  const auto num_steps = static_cast<int>(figures.step_ms.size());
  const double decode_rate =
      num_steps > 0 ? 1000.0 * num_steps * options.batch / figures.decode_ms : 0;
  const double step_ms = Median(figures.step_ms);
  std::printf("%8s %6s %8s %8s %14s %14s %10s\n", "threads", "batch", "prompt", "decode",
              "prompt tok/s", "decode tok/s", "step ms");
  std::printf("%8d %6d %8d %8d %14.1f %14.1f %10.3f\n", options.threads, options.batch,
              options.prompt, num_steps + 1, prompt_rate, decode_rate, step_ms);
  std::printf(
      "{\"bench\": \"decode\", \"libllama\": \"%s\", \"threads\": %d, \"batch\": %d, "
      "\"prompt_tokens\": %d, \"decode_tokens\": %d, \"prompt_ms\": %.3f, \"decode_ms\": %.3f, "
      "\"prompt_tokens_per_s\": %.3f, \"decode_tokens_per_s\": %.3f, \"step_ms\": %.4f}\n",
      llama_version(), options.threads, options.batch, options.prompt, num_steps + 1,
      figures.prompt_ms, figures.decode_ms, prompt_rate, decode_rate, step_ms);
}

}  // namespace

int main(int argc, char** argv) try {
  const Options options = Parse(argc, argv);
  llama_backend_init();
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  Loop loop(options);
  Print(options, loop.Run());
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 1;
}
