#include "edgereason/event.h"

#include <thread>

#include "check.h"

namespace edgereason {

TEST(EventsComeInOrderAcrossThreads) {
  constexpr SequenceId kNum = 20000;
  EventRing ring(6);
  std::thread writer([&] {
    for (SequenceId id = 0; id < kNum; ++id) {
      while (!ring.Push({.id = id})) std::this_thread::yield();
    }
  });
  SequenceId next = 0;
  bool in_order = true;
  while (next < kNum) {
    for (const Event& event : ring.Take(50, 16)) in_order = in_order && event.id == next++;
  }
  writer.join();
  CHECK(in_order);
}

TEST(FullRingTakesNothing) {
  EventRing ring(1);
  CHECK(ring.Push({.id = 1}));
  CHECK(ring.Push({.id = 2}));
  CHECK(!ring.Push({.id = 3}));
  CHECK_EQ(ring.Take(0, 1).size(), 1);
  CHECK(ring.Push({.id = 3}));
  const auto events = ring.Take(0, 8);
  CHECK_EQ(events.size(), 2);
  CHECK_EQ(events[1].id, 3);
}

TEST(TakeReturnsEmptyWhenTimeIsUp) {
  EventRing ring;
  CHECK(ring.Take(1, 8).empty());
}

TEST(OneAtATimeComesInOrder) {
  EventRing ring(2);
  Event event;
  CHECK(!ring.TakeOne(0, &event));
  CHECK(!ring.TakeOne(1, &event));
  CHECK(ring.Push({.id = 1}));
  CHECK(ring.Push({.id = 2}));
  CHECK(ring.TakeOne(0, &event));
  CHECK_EQ(event.id, 1);
  CHECK(ring.TakeOne(5, &event));
  CHECK_EQ(event.id, 2);
  CHECK(!ring.TakeOne(0, &event));
}

TEST(WhoWaitsForOneIsWoken) {
  EventRing ring;
  Event event;
  std::thread writer([&] { CHECK(ring.Push({.id = 7})); });
  CHECK(ring.TakeOne(10000, &event));
  writer.join();
  CHECK_EQ(event.id, 7);
}

TEST(ResultsThatNobodyTookAreFreed) {
  EventRing ring;  // the leak check of the sanitizer build proves it
  CHECK(ring.Push({.kind = Event::Kind::kPhaseEnd, .result = new PhaseResult}));
}

}  // namespace edgereason
