#include "conversation.h"

#include <algorithm>
#include <utility>

#include "edgereason/error.h"
#include "policy/utf8.h"

namespace edgereason {
namespace {

// Bytes of the character that text, which is UTF-8, begins with.
std::size_t CharBytes(std::string_view text) noexcept {
  std::size_t bytes = 1;
  while (bytes < text.size() && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) ++bytes;
  return bytes;
}

// What Python's str.strip takes away.
constexpr std::array<std::string_view, 29> kBlanks = {
    "\t",           "\n",           "\v",           "\f",           "\r",
    "\x1c",         "\x1d",         "\x1e",         "\x1f",         " ",
    "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
    "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86",
    "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8",
    "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};

[[noreturn]] void Refuse(const std::string& what, const std::string& text) {
  throw Error(ErrorCode::kUnsupported, what + " holds " + text,
              "take it out, or ask through Python, where the template itself is at hand");
}

}  // namespace

std::string_view Trimmed(std::string_view text, Loss left, Loss right) noexcept {
  // How many bytes the text loses by the next character at an end; 0: no more.
  const auto lost = [&](Loss loss, auto is_at_end) -> std::size_t {
    if (loss == Loss::kNothing) return 0;
    if (loss == Loss::kNewlines) return is_at_end(std::string_view("\n")) ? 1 : 0;
    const auto blank = std::ranges::find_if(kBlanks, is_at_end);
    return blank == kBlanks.end() ? 0 : blank->size();
  };
  const auto begins = [&](std::string_view blank) { return text.starts_with(blank); };
  const auto ends = [&](std::string_view blank) { return text.ends_with(blank); };
  while (const std::size_t num = lost(left, begins)) text.remove_prefix(num);
  while (const std::size_t num = lost(right, ends)) text.remove_suffix(num);
  return text;
}

// Collects segments; text is added to the last one until that is cut off.
class Conversation::Writer {
 public:
  void Add(std::string_view text) { open_ += text; }
  void Cut() {
    if (!open_.empty()) segments_.push_back({std::exchange(open_, {}), true});
  }
  void AddAsText(std::string_view text) {
    Cut();
    if (!text.empty()) segments_.push_back({std::string(text), false});
  }
  std::vector<PromptSegment> Done() {
    Cut();
    return std::move(segments_);
  }

 private:
  std::string open_;
  std::vector<PromptSegment> segments_;
};

void Conversation::Guard(std::vector<std::string> texts) {
  for (std::string& text : texts) {
    if (text.empty()) continue;
    guarded_[static_cast<unsigned char>(text[0])].push_back(std::move(text));
  }
  for (auto& same_start : guarded_) {
    std::ranges::sort(same_start, std::ranges::greater{}, &std::string::size);
  }
}

std::size_t Conversation::LongestGuarded(std::string_view text) const noexcept {
  if (text.empty()) return 0;
  for (const std::string& one : guarded_[static_cast<unsigned char>(text[0])]) {
    if (text.starts_with(one)) return one.size();
  }
  return 0;
}

// Cut after its first character, and after that of every shorter one inside.
void Conversation::SayGuarded(std::string_view lookalike, Writer* writer) const {
  std::size_t begin = 0;
  for (std::size_t at = 0; at < lookalike.size(); at += CharBytes(lookalike.substr(at))) {
    if (LongestGuarded(lookalike.substr(at)) == 0) continue;
    const std::size_t end = at + CharBytes(lookalike.substr(at));
    writer->AddAsText(lookalike.substr(begin, end - begin));
    begin = end;
  }
  writer->AddAsText(lookalike.substr(begin));
}

void Conversation::Say(std::string_view text, Writer* writer) const {
  while (!text.empty()) {
    std::size_t taken = LongestGuarded(text);
    if (taken > 0) {
      SayGuarded(text.substr(0, taken), writer);
    } else {
      taken = CharBytes(text);
      writer->Add(text.substr(0, taken));
      if (std::ranges::find(cut_after, text.substr(0, taken)) != cut_after.end()) writer->Cut();
    }
    text.remove_prefix(taken);
  }
}

void Conversation::Check(const Said& message) const {
  const std::string who(kSpeakerNames[static_cast<std::size_t>(message.who)]);
  if (!IsUtf8(message.text)) {
    throw Error(ErrorCode::kUsage, "the text of a message (" + who + ") is not UTF-8");
  }
  if (message.text.empty()) {
    throw Error(ErrorCode::kUsage, "the text of a message (" + who + ") is empty",
                "leave the message out");
  }
  for (const std::string& text : acted_on) {
    if (message.text.find(text) != message.text.npos) {
      Refuse("a message (" + who + "), on which this model's chat template acts,", text);
    }
  }
  if (message.who != Speaker::kAssistant) return;
  for (const std::string& text : unsaid) {
    if (message.text.find(text) != message.text.npos) {
      Refuse("an earlier answer, which must be given without its thoughts,", text);
    }
  }
}

std::vector<PromptSegment> Conversation::Fill(std::span<const Said> messages) const {
  Writer writer;
  Speaker before = Speaker::kBegin;
  const auto go_on = [&](Speaker after) {
    const auto& between = Between(before, after);
    if (!between) {
      const auto name = [](Speaker one) {
        return std::string(kSpeakerNames[static_cast<std::size_t>(one)]);
      };
      throw Error(ErrorCode::kUsage,
                  "no " + name(after) + " may follow " + name(before) + " in this conversation",
                  "a system message first, where this model has one, then user and assistant in "
                  "turns, the user last");
    }
    writer.Add(*between);
    before = after;
  };
  for (const Said& message : messages) {
    Check(message);
    go_on(message.who);
    const auto [left, right] = trims[static_cast<std::size_t>(message.who)];
    Say(Trimmed(message.text, left, right), &writer);
  }
  go_on(Speaker::kEnd);
  for (const std::string& text : tail) {
    writer.Cut();
    writer.Add(text);
  }
  return writer.Done();
}

std::int64_t NumControl(std::span<const Token> tokens, const Vocab& vocab) {
  return std::ranges::count_if(
      tokens, [&](Token token) { return vocab.control[static_cast<std::size_t>(token)] != 0; });
}

std::vector<Token> TokenizeOn(const Engine& engine, std::string_view text, bool parse_control) {
  constexpr std::string_view kNoWord = "\x02";  // in no vocabulary but as a byte: it joins nothing
  const std::vector<Token> before = engine.Tokenize(kNoWord, false);
  if (before.size() == 2) {  // the blank, and the character
    std::string behind(kNoWord);
    behind += text;
    std::vector<Token> tokens = engine.Tokenize(behind, parse_control);
    if (tokens.size() >= 2 && std::equal(before.begin(), before.end(), tokens.begin())) {
      tokens.erase(tokens.begin(), tokens.begin() + 2);
      return tokens;
    }
  }
  return engine.Tokenize(text, parse_control);
}

std::vector<Token> PromptTokens(std::span<const PromptSegment> segments, const Engine& engine) {
  const Vocab& vocab = engine.vocab();
  std::size_t num_bytes = 0;
  for (const PromptSegment& segment : segments) num_bytes += segment.text.size();
  const std::size_t most = vocab.LongestPiece() * static_cast<std::size_t>(engine.info().num_cells);
  if (num_bytes > most) {
    throw Error(ErrorCode::kContextFull,
                "the prompt has " + std::to_string(num_bytes) + " bytes, the context holds " +
                    std::to_string(most) + " at most",
                "shorten the prompt, or open the model with a larger context");
  }
  std::vector<Token> tokens;
  for (const PromptSegment& segment : segments) {
    const std::vector<Token> more = tokens.empty()
                                        ? engine.Tokenize(segment.text, segment.control)
                                        : TokenizeOn(engine, segment.text, segment.control);
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  if (vocab.add_bos && vocab.bos != kNoToken && (tokens.empty() || tokens.front() != vocab.bos)) {
    tokens.insert(tokens.begin(), vocab.bos);
  }
  return tokens;
}

}  // namespace edgereason
