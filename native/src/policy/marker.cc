#include "policy/marker.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace edgereason {
namespace {

std::vector<std::string> Joined(std::vector<std::string> texts,
                                const std::vector<std::string>& more) {
  texts.insert(texts.end(), more.begin(), more.end());
  return texts;
}

// The last line, without its break.
std::string_view LastLine(std::string_view text) noexcept {
  return text.substr(text.rfind('\n') + 1);  // npos + 1 is 0
}

std::string_view Unindented(std::string_view line) noexcept {
  return line.substr(std::min(line.find_first_not_of(" \t\r"), line.size()));
}

// Whether a fence (``` or ~~~) that began a line is still open.
bool InFence(std::string_view text) noexcept {
  char fence = 0;
  while (!text.empty()) {
    const std::string_view line = Unindented(text.substr(0, text.find('\n')));
    if (line.starts_with("```") || line.starts_with("~~~")) {
      if (fence == 0) {
        fence = line[0];
      } else if (fence == line[0]) {
        fence = 0;
      }
    }
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  }
  return fence != 0;
}

bool BeginsLine(std::string_view before) noexcept {
  return Unindented(LastLine(before)).empty() && !InFence(before);
}

bool IsQuoted(std::string_view before) noexcept {
  const std::string_view line = LastLine(before);
  if (std::ranges::count(line, '`') % 2 != 0) return true;
  for (const std::string_view quote : {"\"", "'", "\u201C", "\u2018", "\u00AB"}) {
    if (line.ends_with(quote)) return true;
  }
  return InFence(before);
}

}  // namespace

MarkerTracker::MarkerTracker(std::vector<std::string> open, std::vector<std::string> shut,
                             std::vector<std::string> stop, bool inside,
                             std::vector<std::size_t> ends, std::vector<std::string> call)
    : outside_(Joined(Joined(open, stop), shut)),
      within_(Joined(Joined(shut, call), open)),
      num_open_(static_cast<std::int32_t>(open.size())),
      num_shut_(static_cast<std::int32_t>(shut.size())),
      num_stop_(static_cast<std::int32_t>(stop.size())),
      call_(std::move(call)),
      ends_(std::move(ends)),
      inside_(inside) {
  for (const auto* texts : {&open, &shut}) {
    for (const std::string& text : *texts) sizes_.push_back(text.size());
  }
  ends_.resize(sizes_.size());
  std::size_t longest = 0;
  for (const auto* texts : {&open, &shut, &stop, &call_}) {
    for (const std::string& text : *texts) longest = std::max(longest, text.size());
  }
  held_.reserve(longest);
}

MarkerTracker::Event MarkerTracker::Feed(std::string_view piece, std::string* answer,
                                         std::string* reasoning) {
  Event event = Event::kNone;
  const std::string_view token = piece;
  while (!piece.empty()) {
    TextMatcher& matcher = inside_ ? within_ : outside_;
    std::string* text = inside_ ? reasoning : answer;
    const TextMatcher::Match match = matcher.Feed(piece);
    if (match.pattern < 0) {
      Take(piece, matcher.num_held(), text);
      return event;
    }
    const std::size_t num_taken = piece.size() - static_cast<std::size_t>(match.num_after);
    Take(piece.substr(0, num_taken), match.num_pattern, text);
    piece.remove_prefix(num_taken);
    if (!Counts(match, token, *text)) {
      Take({}, 0, text);
      if (!inside_) may_repeat_ = false;
      continue;
    }
    held_.clear();  // the mark itself
    if (inside_) {
      const std::int32_t called = match.pattern - num_shut_;
      if (called >= std::ssize(call_)) continue;  // an open mark inside a block
      if (called >= 0) answer->append(call_[static_cast<std::size_t>(called)]);
      Enter(false);
      mark_ = match.pattern;
      event = Event::kShut;
    } else if (match.pattern < num_open_) {
      Enter(true);
      event = Event::kOpened;
    } else if (match.pattern < num_open_ + num_stop_) {
      mark_ = match.pattern - num_open_;
      return Event::kStop;
    } else {
      may_repeat_ = false;
    }
  }
  return event;
}

void MarkerTracker::ForceShut(std::string* reasoning) {
  if (!inside_) return;
  Take({}, 0, reasoning);
  Enter(false);
}

void MarkerTracker::Flush(std::string* answer, std::string* reasoning) {
  Take({}, 0, inside_ ? reasoning : answer);
  outside_.Reset();
  within_.Reset();
}

// Appends what was held and `bytes` to `text`, all but the last `num_keep` bytes: those are held.
void MarkerTracker::Take(std::string_view bytes, std::int32_t num_keep, std::string* text) {
  const std::size_t num_all = held_.size() + bytes.size();
  const std::size_t num_show = num_all - static_cast<std::size_t>(num_keep);
  const std::size_t from_held = std::min(num_show, held_.size());
  text->append(held_, 0, from_held);
  held_.erase(0, from_held);
  text->append(bytes.substr(0, num_show - from_held));
  held_.append(bytes.substr(num_show - from_held));
}

// Whether what was found does something, or is only text. `before`: of its channel.
bool MarkerTracker::Counts(const TextMatcher::Match& match, std::string_view token,
                           std::string_view before) const noexcept {
  const std::int32_t num_first = inside_ ? num_shut_ : num_open_;
  // Calls stand where stop texts do.
  const auto num_stop = inside_ ? static_cast<std::int32_t>(call_.size()) : num_stop_;
  const bool first = match.pattern < num_first;
  if (!first && match.pattern < num_first + num_stop) return true;
  const bool opens = first != inside_;
  const std::int32_t nth = first ? match.pattern : match.pattern - num_first - num_stop;
  const auto at = static_cast<std::size_t>(opens ? nth : num_open_ + nth);
  const std::size_t end = ends_[at];
  if (end > 0 && (match.num_after > 0 || token.size() != end)) return false;
  if (opens) return (end > 0 && end < sizes_[at]) || BeginsLine(before);
  return inside_ || BeginsLine(before) || (may_repeat_ && !IsQuoted(before));
}

void MarkerTracker::Enter(bool inside) noexcept {
  inside_ = inside;
  may_repeat_ = true;
  outside_.Reset();
  within_.Reset();
}

}  // namespace edgereason
