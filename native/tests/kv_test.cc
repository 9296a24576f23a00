#include "context/kv.h"

#include <vector>

#include "check.h"
#include "edgereason/scripted.h"

namespace edgereason {
namespace {

using Items = std::vector<ContextItem>;

Items Of(const std::vector<Token>& tokens) {
  Items items;
  for (const Token token : tokens) items.push_back(ContextItem::OfToken(token));
  return items;
}

// A sequence that holds `items`, all of them tokens.
SeqId Held(Engine* engine, Kv* kv, const Items& items) {
  const SeqId seq = kv->Acquire();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Row row{.seq = seq, .pos = static_cast<Pos>(i), .token = items[i].token()};
    CHECK_EQ(engine->Decode(std::span(&row, 1)), Status::kOk);
    kv->Append(seq, 1);
  }
  return seq;
}

}  // namespace

TEST(WhatIsParkedIsFoundByItsBeginning) {
  ScriptedEngine engine({.num_cells = 64, .max_seqs = 4});
  Kv kv(&engine, 32);
  const SeqId seq = Held(&engine, &kv, Of({1, 2, 3, 4}));
  kv.Park(seq, 0, Of({1, 2, 3, 4}));
  CHECK_EQ(kv.FindKept(0, Of({1, 2, 3, 9})).len, 3);
  CHECK_EQ(kv.FindKept(0, Of({1, 2, 3, 9})).seq, seq);
  CHECK_EQ(kv.FindKept(0, Of({9})).len, 0);
}

TEST(EqualTokensUnderAnotherKeyAreOtherKv) {
  ScriptedEngine engine({.num_cells = 64, .max_seqs = 4});
  Kv kv(&engine, 32);
  kv.Park(Held(&engine, &kv, Of({1, 2, 3})), 77, Of({1, 2, 3}));
  CHECK_EQ(kv.FindKept(0, Of({1, 2, 3, 4})).len, 0);
  CHECK_EQ(kv.FindKept(77, Of({1, 2, 3, 4})).len, 3);
  // And does not take the place of what is parked under the first.
  kv.Park(Held(&engine, &kv, Of({1, 2, 3, 4})), 0, Of({1, 2, 3, 4}));
  CHECK_EQ(kv.num_parked(), 2);
  kv.Park(Held(&engine, &kv, Of({1, 2, 3, 4, 5})), 0, Of({1, 2, 3, 4, 5}));
  CHECK_EQ(kv.num_parked(), 2);
}

TEST(APrefixServesEveryKey) {
  ScriptedEngine engine({.num_cells = 64, .max_seqs = 4});
  Kv kv(&engine, 32);
  const SeqId seq = kv.Acquire();
  kv.Append(seq, 2);
  kv.Pin(seq, {.id = 1, .num_positions = 2});
  const Items prompt{ContextItem::OfPrefix(1, 0), ContextItem::OfPrefix(1, 1),
                     ContextItem::OfToken(3)};
  CHECK_EQ(kv.FindKept(0, prompt).len, 2);
  CHECK_EQ(kv.FindKept(77, prompt).len, 2);
  CHECK_EQ(kv.num_unpinned(), 62);
}

TEST(WhatWasNotUsedForLongestGoesFirst) {
  ScriptedEngine engine({.num_cells = 64, .max_seqs = 4});
  Kv kv(&engine, 32);
  kv.Park(Held(&engine, &kv, Of({1, 1})), 0, Of({1, 1}));
  kv.Park(Held(&engine, &kv, Of({2, 2})), 0, Of({2, 2}));
  CHECK_EQ(kv.FindKept(0, Of({1, 1, 5})).len, 2);
  CHECK(kv.EvictOne());
  CHECK_EQ(kv.FindKept(0, Of({1, 1, 5})).len, 2);
  CHECK_EQ(kv.FindKept(0, Of({2, 2, 5})).len, 0);
  CHECK(kv.EvictOne());
  CHECK(!kv.EvictOne());
  CHECK_EQ(kv.num_free(), 64);
}

}  // namespace edgereason
