#include "vocab.h"

#include <llama.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <limits>

#include "deep_stack.h"
#include "guards.h"
#include "policy/utf8.h"

namespace edgereason {
namespace {

std::string PieceOf(const llama_vocab* vocab, Token token) {
  std::string piece(64, '\0');
  const auto render = [&] {
    return llama_token_to_piece(vocab, token, piece.data(), static_cast<std::int32_t>(piece.size()),
                                0, true);
  };
  std::int32_t len = render();
  if (len < 0) {
    piece.resize(static_cast<std::size_t>(-len));
    len = render();
  }
  piece.resize(static_cast<std::size_t>(std::max(len, 0)));
  piece.shrink_to_fit();
  return piece;
}

// libllama finds the words of a text by regular expressions that recurse once or more for each
// character: a word of 26,000 equal letters is too much for a stack of 8 MiB. Where a word ends
// depends on the model, so that the whole text is taken for one. Measured: some 320 bytes a
// character.
constexpr std::size_t kStackPerByte = 1536;
constexpr std::size_t kStackBytes = 1 << 20;   // what else it takes
constexpr std::size_t kShallowBytes = 1024;    // so short a text fits on any stack
constexpr std::size_t kMostBytes = 256 << 20;  // of a text

ModelPtr OpenVocab(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    throw Error(ErrorCode::kModelNotFound, "no such vocabulary: " + path);
  }
  InitLibrary();
  const LogCapture log;
  const AbortGuard guard;
  ggml_backend_dev_t no_devices[] = {nullptr};
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  params.devices = no_devices;
  std::string why;
  ModelPtr model;
  try {
    model.reset(llama_model_load_from_file(path.c_str(), params));
  } catch (const std::exception& thrown) {
    why = thrown.what();
  }
  const llama_vocab* vocab = model ? llama_model_get_vocab(model.get()) : nullptr;
  if (vocab != nullptr && llama_vocab_type(vocab) != LLAMA_VOCAB_TYPE_NONE &&
      llama_vocab_n_tokens(vocab) > 0) {
    return model;
  }
  throw Error(ErrorCode::kBundle,
              "cannot read the vocabulary of " + path + ": " + (why.empty() ? log.Text() : why),
              "it may be damaged: fetch or export the model again");
}

}  // namespace

void ModelDeleter::operator()(llama_model* model) const noexcept { llama_model_free(model); }

Vocab ReadVocab(const llama_model& model) {
  const llama_vocab* vocab = llama_model_get_vocab(&model);
  if (llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE) {  // libllama aborts when it is asked
    throw Error(ErrorCode::kBundle, "the model has no vocabulary (tokenizer.ggml.model = no_vocab)",
                "fetch a file of it that has its tokenizer");
  }
  const std::int32_t num = llama_vocab_n_tokens(vocab);
  Vocab read;
  read.pieces.reserve(static_cast<std::size_t>(num));
  read.ends.reserve(static_cast<std::size_t>(num));
  read.control.reserve(static_cast<std::size_t>(num));
  for (Token token = 0; token < num; ++token) {
    read.pieces.push_back(PieceOf(vocab, token));
    read.ends.push_back(llama_vocab_is_eog(vocab, token));
    const bool control = llama_vocab_is_control(vocab, token);
    const int attr = llama_vocab_get_attr(vocab, token);
    read.control.push_back(control);
    if (control || (attr & LLAMA_TOKEN_ATTR_USER_DEFINED) != 0) read.named.push_back(token);
  }
  read.bos = llama_vocab_bos(vocab);
  read.add_bos = llama_vocab_get_add_bos(vocab);
  return read;
}

std::vector<Token> Tokenize(const llama_model& model, std::string_view text, bool parse_control) {
  if (!IsUtf8(text)) throw Error(ErrorCode::kUsage, "text is not UTF-8");
  const llama_vocab* vocab = llama_model_get_vocab(&model);
  if (text.size() > kMostBytes) {
    throw Error(ErrorCode::kUsage,
                "a text of " + std::to_string(text.size() >> 20) + " MiB is too long to tokenize",
                "the most is 256 MiB: cut it into pieces");
  }
  const auto num_bytes = static_cast<std::int32_t>(text.size());
  std::vector<Token> tokens(text.size() + 8);
  const auto run = [&] {
    return llama_tokenize(vocab, text.data(), num_bytes, tokens.data(),
                          static_cast<std::int32_t>(tokens.size()), false, parse_control);
  };
  const auto tokenize = [&] {
    std::int32_t num = run();
    if (num < 0) {
      tokens.resize(static_cast<std::size_t>(-static_cast<std::int64_t>(num)));
      num = run();
    }
    tokens.resize(static_cast<std::size_t>(std::max(num, 0)));
  };
  if (text.size() <= kShallowBytes) {
    tokenize();
  } else {
    OnDeepStack(kStackBytes + kStackPerByte * text.size(), tokenize);
  }
  return tokens;
}

std::optional<std::string> MetaOf(const llama_model& model, const std::string& key) {
  const std::int32_t len = llama_model_meta_val_str(&model, key.c_str(), nullptr, 0);
  if (len < 0) return std::nullopt;
  std::string value(static_cast<std::size_t>(len) + 1, '\0');
  llama_model_meta_val_str(&model, key.c_str(), value.data(), value.size());
  value.pop_back();  // the terminating 0
  return value;
}

VocabFile::VocabFile(const std::string& path)
    : model_(OpenVocab(path)), vocab_(ReadVocab(*model_)) {}

}  // namespace edgereason
