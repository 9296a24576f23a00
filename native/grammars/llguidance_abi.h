// What we use of llguidance's C interface, versions 1.9 to 1.x: the layout of its structures and the
// types of its functions. The library is loaded at run time, so that its header is not needed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgereason::llg {

struct Tokenizer;
struct Matcher;

using TokenizeFn = std::size_t (*)(const void* user, const std::uint8_t* bytes,
                                   std::size_t num_bytes, std::uint32_t* tokens,
                                   std::size_t max_tokens);

struct TokenizerInit {
  std::size_t struct_size;  // of this; the library reads no more
  std::uint32_t num_vocab;
  std::uint32_t end;               // the token that ends a text
  const std::uint32_t* lengths;    // [num_vocab]
  const std::uint8_t* bytes;       // of all tokens, one behind the other
  const char* tokenizer_json;      // instead of the two before
  bool takes_text_only;            // `tokenize` is for UTF-8
  TokenizeFn tokenize;             // from any thread
  bool greedy;                     // instead of `tokenize`
  const void* user;                // the first argument of `tokenize`
  const char* const* slices;       // null: as the library likes it
  const std::uint32_t* more_ends;  // [num_more_ends]
  std::uint32_t num_more_ends;
};

struct Limits {  // 0 everywhere: as the library likes it
  std::size_t items_in_row;
  std::uint64_t first_lexer_fuel;
  std::uint64_t step_lexer_fuel;
  std::size_t step_items;
  std::size_t lexer_states;
  std::size_t grammar_size;
  bool precompute_large;
  bool verbose_errors;
};

struct ConstraintInit {
  const Tokenizer* tokenizer;
  std::uint32_t log_buffer_level;
  std::uint32_t log_stderr_level;
  bool forces_tokens;  // not looked at for a matcher
  bool backtracks;     // not looked at for a matcher
  Limits limits;
  std::uint64_t later[16];  // what later versions may add stays 0
};

struct Functions {
  const char* (*get_version)();
  void (*constraint_init_set_defaults)(ConstraintInit*, const Tokenizer*);
  Tokenizer* (*new_tokenizer_v2)(const TokenizerInit*, char* error, std::size_t error_size);
  void (*free_tokenizer)(Tokenizer*);
  Matcher* (*new_matcher)(const ConstraintInit*, const char* kind, const char* text);
  Matcher* (*clone_matcher)(const Matcher*);
  void (*free_matcher)(Matcher*);
  const char* (*matcher_get_error)(Matcher*);
  std::size_t (*matcher_get_mask_byte_size)(const Matcher*);
  std::int32_t (*matcher_compute_mask_into)(Matcher*, std::uint32_t* mask, std::size_t num_bytes);
  std::int32_t (*matcher_consume_token)(Matcher*, std::uint32_t token);
  std::int32_t (*matcher_validate_tokens)(Matcher*, const std::uint32_t* tokens, std::size_t num);
  std::int32_t (*matcher_compute_ff_tokens)(Matcher*, std::uint32_t* tokens,
                                            std::size_t max_tokens);
  bool (*matcher_is_accepting)(Matcher*);
  bool (*matcher_is_stopped)(const Matcher*);
};

}  // namespace edgereason::llg
