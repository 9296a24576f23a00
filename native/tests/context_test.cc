#include "context/context.h"

#include <vector>

#include "check.h"

namespace edgereason {
namespace {

using Tokens = std::vector<Token>;

}  // namespace

TEST(KindsOfItemsAreNeverEqual) {
  const std::vector<ContextItem> items{ContextItem::OfToken(0), ContextItem::Latent(),
                                       ContextItem::OfPrefix(0, 0), ContextItem::OfImage(0)};
  for (std::size_t i = 0; i < items.size(); ++i) {
    for (std::size_t j = 0; j < items.size(); ++j) CHECK_EQ(items[i] == items[j], i == j);
  }
  CHECK(ContextItem::OfImage(7) != ContextItem::OfImage(8));
  CHECK(ContextItem::OfPrefix(1, 0) != ContextItem::OfPrefix(2, 0));
  CHECK(ContextItem::OfPrefix(1, 0) != ContextItem::OfPrefix(1, 1));
}

TEST(OnlyTokensHaveAToken) {
  CHECK_EQ(ContextItem::OfToken(151668).token(), 151668);
  CHECK_EQ(ContextItem::Latent().token(), kNoToken);
  CHECK_EQ(ContextItem::OfPrefix(3, 9).token(), kNoToken);
  CHECK_EQ(ContextItem::OfImage(42).token(), kNoToken);
}

TEST(RestartKeepsWhatIsEqual) {
  Context context(0, {}, 16);
  CHECK_EQ(context.Restart(Tokens{1, 2, 3}, 0), 0);
  context.Append(Tokens{4, 5});
  CHECK_EQ(context.Restart(Tokens{1, 2, 9, 9}, 5), 2);
  CHECK_EQ(context.size(), 4);
  CHECK_EQ(context.items()[2].token(), 9);
  // Of what has no KV nothing stays.
  CHECK_EQ(context.Restart(Tokens{1, 2, 9}, 1), 1);
  CHECK_EQ(context.size(), 3);
}

TEST(EveryPromptStandsBehindThePrefix) {
  Context context(0, {.id = 5, .num_positions = 3}, 16);
  CHECK_EQ(context.num_prefix(), 0);
  CHECK_EQ(context.Restart(Tokens{7}, 0), 0);
  CHECK_EQ(context.num_prefix(), 3);
  CHECK_EQ(context.size(), 4);
  CHECK(context.items()[2] == ContextItem::OfPrefix(5, 2));
  CHECK_EQ(context.Restart(Tokens{8, 9}, 4), 3);
  CHECK_EQ(context.size(), 5);
}

TEST(LatentStepsAreFedWhatTheyWereGiven) {
  Context context(0, {}, 16);
  context.Restart(Tokens{1}, 0);
  context.ReserveLatents(2, 2);
  context.AppendLatent(std::vector<float>{1, 2});
  context.AppendLatent(std::vector<float>{3, 4});
  context.Append(Token{2});
  CHECK(context.Embedding(0) == nullptr);
  CHECK_EQ(context.Embedding(1)[1], 2.0F);
  CHECK_EQ(context.Embedding(2)[0], 3.0F);
  CHECK(context.Embedding(3) == nullptr);
}

}  // namespace edgereason
