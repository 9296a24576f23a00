// A chat template that was compiled: what it writes between the messages of a conversation. Filled
// with texts it gives the same segments as the template does in Python.
//
//   conversation.Fill({{Speaker::kSystem, "Be brief."}, {Speaker::kUser, "Hi"}})
//   -> "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n..."
//
// What looks like a control token in a message is cut after its first character into segments that
// are tokenized as text, so that no tokenizer puts it together again.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "edgereason/engine.h"

namespace edgereason {

// kBegin and kEnd stand for what is before the first message and behind the last.
enum class Speaker : std::uint8_t { kBegin, kSystem, kUser, kAssistant, kEnd };
inline constexpr std::array<std::string_view, 5> kSpeakerNames = {"begin", "system", "user",
                                                                  "assistant", "end"};

struct Said {
  Speaker who = Speaker::kUser;
  std::string_view text;
};

struct PromptSegment {
  std::string text;
  bool control = true;  // may hold control tokens
};

// What a text loses at an end. Blanks are what Unicode calls so, as in Python.
enum class Loss : std::uint8_t { kNothing, kNewlines, kBlanks };
std::string_view Trimmed(std::string_view text, Loss left = Loss::kBlanks,
                         Loss right = Loss::kBlanks) noexcept;

class Conversation {
 public:
  // What is written between two speakers; nothing where a template does not let them follow.
  std::optional<std::string>& Between(Speaker before, Speaker after) {
    return between_[static_cast<std::size_t>(before)][static_cast<std::size_t>(after)];
  }
  const std::optional<std::string>& Between(Speaker before, Speaker after) const {
    return between_[static_cast<std::size_t>(before)][static_cast<std::size_t>(after)];
  }

  struct Trim {
    Loss left = Loss::kNothing;
    Loss right = Loss::kNothing;
  };
  std::array<Trim, 5> trims = {};      // by speaker
  std::vector<std::string> tail;       // segments of their own behind all
  std::vector<std::string> cut_after;  // characters behind which a text is cut in two
  std::vector<std::string> unsaid;     // texts that an earlier answer must not hold
  std::vector<std::string> acted_on;   // texts that the template does not just copy

  void Guard(std::vector<std::string> texts);  // what must not become a control token

  // Throws kUsage on an order of messages that there is not, kUnsupported on a text that the
  // compiled template cannot write.
  std::vector<PromptSegment> Fill(std::span<const Said> messages) const;

 private:
  class Writer;

  void Check(const Said& message) const;
  std::size_t LongestGuarded(std::string_view text) const noexcept;  // that it begins with; 0: none
  void Say(std::string_view text, Writer* writer) const;
  void SayGuarded(std::string_view lookalike, Writer* writer) const;

  std::array<std::array<std::optional<std::string>, 5>, 5> between_;
  std::array<std::vector<std::string>, 256> guarded_;  // by first byte, the longest first
};

// Tokens of a text that others stand before. Vocabularies of SentencePiece put a blank before any
// text they are given, which belongs to the start of a prompt alone.
std::vector<Token> TokenizeOn(const Engine& engine, std::string_view text, bool parse_control);

// The tokens of a prompt. Throws kContextFull where it is too long whatever its tokens are, kUsage
// where a text has become a control token after all, or is not UTF-8.
std::vector<Token> PromptTokens(std::span<const PromptSegment> segments, const Engine& engine);

// How many control tokens there are among `tokens`.
std::int64_t NumControl(std::span<const Token> tokens, const Vocab& vocab);

}  // namespace edgereason
