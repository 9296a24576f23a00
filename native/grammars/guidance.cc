#include "guidance.h"

#include <dlfcn.h>

#include <algorithm>
#include <new>
#include <utility>

namespace edgereason {
namespace {

constexpr char kSpecial = '\xff';  // before the names of tokens that are no text
constexpr std::size_t kMostForced = 256;
constexpr std::size_t kMostError = 1024;

std::size_t TokenizeFor(const void* user, const std::uint8_t* bytes, std::size_t num_bytes,
                        std::uint32_t* tokens, std::size_t max_tokens) noexcept {
  const std::string_view text(reinterpret_cast<const char*>(bytes), num_bytes);
  try {
    const std::vector<Token> found = static_cast<const Guidance*>(user)->TokensOf(text);
    const std::size_t num = std::min(found.size(), max_tokens);
    std::copy_n(found.begin(), num, tokens);
    return found.size();
  } catch (...) {
    return 0;  // out of memory
  }
}

// One text of a grammar. The library's own states may be copied and freed on any thread.
class GuidanceGrammar final : public Grammar {
 public:
  GuidanceGrammar(std::shared_ptr<const Guidance> guidance, llg::Matcher* matcher, bool is_json)
      : guidance_(std::move(guidance)), matcher_(matcher), is_json_(is_json) {
    if (matcher_ == nullptr) throw std::bad_alloc();
  }
  ~GuidanceGrammar() override { calls().free_matcher(matcher_); }
  GuidanceGrammar(const GuidanceGrammar&) = delete;
  GuidanceGrammar& operator=(const GuidanceGrammar&) = delete;

  std::unique_ptr<Grammar> Clone() const override {
    return std::make_unique<GuidanceGrammar>(guidance_, calls().clone_matcher(matcher_), is_json_);
  }
  bool is_json() const noexcept override { return is_json_; }
  const TokenTable& tokens() const noexcept override { return guidance_->table(); }

  bool FillMask(std::span<std::uint32_t> mask) noexcept override {
    if (mask.size_bytes() != calls().matcher_get_mask_byte_size(matcher_)) return false;
    return calls().matcher_compute_mask_into(matcher_, mask.data(), mask.size_bytes()) == 0;
  }
  bool Allows(Token token) noexcept override {
    const auto one = static_cast<std::uint32_t>(token);
    return calls().matcher_validate_tokens(matcher_, &one, 1) == 1;
  }
  bool Completes(std::span<const Token> tokens) override {
    if (tokens.empty()) return MayEnd();
    // An end token is valid where the text may end.
    std::vector<std::uint32_t> all(tokens.begin(), tokens.end());
    all.push_back(static_cast<std::uint32_t>(guidance_->end()));
    return calls().matcher_validate_tokens(matcher_, all.data(), all.size()) == std::ssize(all);
  }
  bool Accept(Token token) noexcept override {
    return calls().matcher_consume_token(matcher_, static_cast<std::uint32_t>(token)) == 0;
  }
  std::vector<Token> Forced() override {
    std::uint32_t tokens[kMostForced];
    const std::int32_t num = calls().matcher_compute_ff_tokens(matcher_, tokens, kMostForced);
    return {tokens, tokens + std::max(num, 0)};
  }
  // What is wrong with it; null: nothing.
  const char* error() noexcept { return calls().matcher_get_error(matcher_); }

  bool MayEnd() noexcept override { return calls().matcher_is_accepting(matcher_); }
  bool MustEnd() noexcept override { return calls().matcher_is_stopped(matcher_); }

 private:
  const llg::Functions& calls() const noexcept { return guidance_->calls(); }

  std::shared_ptr<const Guidance> guidance_;
  llg::Matcher* matcher_;
  bool is_json_;
};

template <typename Function>
void Find(void* library, const char* name, Function* function) {
  void* const found = dlsym(library, name);
  if (found == nullptr) {
    throw Error(ErrorCode::kUnsupported, std::string("this llguidance has no function ") + name,
                "install llguidance 1.9 or a later 1.x");
  }
  *function = reinterpret_cast<Function>(found);
}

}  // namespace

std::shared_ptr<const Guidance> Guidance::Open(const std::string& library,
                                               std::shared_ptr<const Engine> engine) {
  std::shared_ptr<Guidance> made(new Guidance(std::move(engine)));
  made->Load(library);
  made->ReadVocabulary();
  return made;
}

Guidance::Guidance(std::shared_ptr<const Engine> engine)
    : engine_(std::move(engine)), table_(engine_->vocab()) {}

Guidance::~Guidance() {
  if (tokenizer_ != nullptr) calls_.free_tokenizer(tokenizer_);
}

// The library stays loaded: code of its own threads may still run.
void Guidance::Load(const std::string& library) {
  void* const handle = dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const why = dlerror();
    throw Error(ErrorCode::kUnsupported,
                std::string("cannot load llguidance: ") + (why != nullptr ? why : "unknown"),
                "install the package llguidance anew");
  }
  Find(handle, "llg_get_version", &calls_.get_version);
  Find(handle, "llg_constraint_init_set_defaults", &calls_.constraint_init_set_defaults);
  Find(handle, "llg_new_tokenizer_v2", &calls_.new_tokenizer_v2);
  Find(handle, "llg_free_tokenizer", &calls_.free_tokenizer);
  Find(handle, "llg_new_matcher", &calls_.new_matcher);
  Find(handle, "llg_clone_matcher", &calls_.clone_matcher);
  Find(handle, "llg_free_matcher", &calls_.free_matcher);
  Find(handle, "llg_matcher_get_error", &calls_.matcher_get_error);
  Find(handle, "llg_matcher_get_mask_byte_size", &calls_.matcher_get_mask_byte_size);
  Find(handle, "llg_matcher_compute_mask_into", &calls_.matcher_compute_mask_into);
  Find(handle, "llg_matcher_consume_token", &calls_.matcher_consume_token);
  Find(handle, "llg_matcher_validate_tokens", &calls_.matcher_validate_tokens);
  Find(handle, "llg_matcher_compute_ff_tokens", &calls_.matcher_compute_ff_tokens);
  Find(handle, "llg_matcher_is_accepting", &calls_.matcher_is_accepting);
  Find(handle, "llg_matcher_is_stopped", &calls_.matcher_is_stopped);
}

void Guidance::ReadVocabulary() {
  const Vocab& vocab = engine_->vocab();
  std::vector<std::uint32_t> lengths;
  std::vector<std::uint32_t> ends;
  std::string bytes;
  for (std::size_t i = 0; i < vocab.pieces.size(); ++i) {
    const auto token = static_cast<Token>(i);
    std::string piece = vocab.pieces[i];
    if (!table_.IsText(token) && !piece.empty()) piece.insert(piece.begin(), kSpecial);
    if (vocab.Ends(token)) ends.push_back(static_cast<std::uint32_t>(i));
    lengths.push_back(static_cast<std::uint32_t>(piece.size()));
    bytes += piece;
  }
  if (ends.empty()) {
    throw Error(ErrorCode::kUnsupported, "a grammar needs a model with a token that ends its text");
  }
  end_ = static_cast<Token>(ends.front());
  const llg::TokenizerInit init = {
      .struct_size = sizeof(llg::TokenizerInit),
      .num_vocab = static_cast<std::uint32_t>(vocab.pieces.size()),
      .end = ends.front(),
      .lengths = lengths.data(),
      .bytes = reinterpret_cast<const std::uint8_t*>(bytes.data()),
      .tokenizer_json = nullptr,
      .takes_text_only = true,
      .tokenize = &TokenizeFor,
      .greedy = false,
      .user = this,
      .slices = nullptr,
      .more_ends = ends.data() + 1,
      .num_more_ends = static_cast<std::uint32_t>(ends.size() - 1),
  };
  std::string error(kMostError, '\0');
  tokenizer_ = calls_.new_tokenizer_v2(&init, error.data(), error.size());
  if (tokenizer_ == nullptr) {
    throw Error(ErrorCode::kUnsupported,
                "llguidance cannot use this model's vocabulary: " + std::string(error.c_str()));
  }
}

std::vector<Token> Guidance::TokensOf(std::string_view text) const {
  std::vector<Token> tokens;
  try {
    tokens = engine_->Tokenize(text, false);
  } catch (const Error&) {
    tokens.clear();  // not UTF-8
  }
  std::string back;
  for (const Token token : tokens) back += engine_->vocab().Piece(token);
  if (back == text) return tokens;
  return table_.Tokens(text).value_or(std::vector<Token>{});
}

std::unique_ptr<Grammar> Guidance::Compile(const std::string& kind, const std::string& text) const {
  llg::ConstraintInit init = {};
  calls_.constraint_init_set_defaults(&init, tokenizer_);
  init.log_buffer_level = 0;
  init.log_stderr_level = 0;
  init.limits.verbose_errors = false;
  auto grammar = std::make_unique<GuidanceGrammar>(
      shared_from_this(), calls_.new_matcher(&init, kind.c_str(), text.c_str()),
      kind == "json_schema");
  if (const char* const error = grammar->error()) throw Error(ErrorCode::kUsage, error);
  std::vector<std::uint32_t> mask(MaskWords(table_.num_vocab()));
  const bool usable = grammar->FillMask(mask);
  if (const char* const error = grammar->error()) throw Error(ErrorCode::kUsage, error);
  if (!usable || std::ranges::all_of(mask, [](std::uint32_t word) { return word == 0; })) {
    throw Error(ErrorCode::kUnsupported,
                "this model's vocabulary has no token that the grammar could begin with");
  }
  return grammar;
}

}  // namespace edgereason
