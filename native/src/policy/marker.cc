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

}  // namespace

MarkerTracker::MarkerTracker(std::vector<std::string> open, std::vector<std::string> shut,
                             std::vector<std::string> stop, bool inside,
                             std::vector<std::string> call)
    : outside_(Joined(Joined(open, stop), shut)),
      within_(Joined(Joined(shut, call), open)),
      num_open_(static_cast<std::int32_t>(open.size())),
      num_shut_(static_cast<std::int32_t>(shut.size())),
      num_stop_(static_cast<std::int32_t>(stop.size())),
      call_(std::move(call)),
      inside_(inside) {
  std::size_t longest = 0;
  for (const auto* texts : {&open, &shut, &stop, &call_}) {
    for (const std::string& text : *texts) longest = std::max(longest, text.size());
  }
  held_.reserve(longest);
}

MarkerTracker::Event MarkerTracker::Feed(std::string_view piece, std::string* answer,
                                         std::string* reasoning) {
  Event event = Event::kNone;
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
    held_.clear();  // the mark itself
    piece.remove_prefix(num_taken);
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

void MarkerTracker::Enter(bool inside) noexcept {
  inside_ = inside;
  outside_.Reset();
  within_.Reset();
}

}  // namespace edgereason
