#include "activations.h"

#include <ggml.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "check.h"

namespace edgereason {
namespace {

// Tensors in one arena; graphs are described, never computed.
class Arena {
 public:
  Arena() : context_(ggml_init({.mem_size = 1 << 20, .mem_buffer = nullptr, .no_alloc = false})) {}
  ~Arena() { ggml_free(context_); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  ggml_context* get() const { return context_; }

  ggml_tensor* Weight(const char* name, std::int64_t columns, std::int64_t rows,
                      std::int64_t matrices = 1) {
    ggml_tensor* tensor = ggml_new_tensor_3d(context_, GGML_TYPE_F32, columns, rows, matrices);
    ggml_set_name(tensor, name);
    return tensor;
  }

  ggml_tensor* Input(std::int64_t columns, std::int64_t rows, std::int64_t tokens,
                     std::initializer_list<float> values) {
    ggml_tensor* tensor = ggml_new_tensor_3d(context_, GGML_TYPE_F32, columns, rows, tokens);
    std::copy(values.begin(), values.end(), static_cast<float*>(tensor->data));
    return tensor;
  }

  ggml_tensor* Ids(std::int64_t used, std::int64_t tokens,
                   std::initializer_list<std::int32_t> values) {
    ggml_tensor* tensor = ggml_new_tensor_2d(context_, GGML_TYPE_I32, used, tokens);
    std::copy(values.begin(), values.end(), static_cast<std::int32_t*>(tensor->data));
    return tensor;
  }

 private:
  ggml_context* context_;
};

bool Feed(ggml_tensor* product, Activations* activations) {
  return Activations::OnTensor(product, true, activations) &&
         Activations::OnTensor(product, false, activations);
}

TEST(RowsOfAWeightAddUp) {
  Arena arena;
  Activations activations;
  ggml_tensor* weight = arena.Weight("blk.0.ffn_up.weight", 2, 3);
  CHECK(
      Feed(ggml_mul_mat(arena.get(), weight, arena.Input(2, 2, 1, {1, -2, 3, 0.5})), &activations));
  CHECK(Feed(ggml_mul_mat(arena.get(), weight, arena.Input(2, 1, 1, {-4, 0})), &activations));
  CHECK_EQ(activations.entries().size(), 1U);
  const Activation& entry = activations.entries()[0];
  CHECK_EQ(entry.name, "blk.0.ffn_up.weight");
  CHECK_EQ(entry.num_columns, 2);
  CHECK(entry.sum_squares == (std::vector<double>{26, 4.25}));
  CHECK(entry.counts == (std::vector<std::int64_t>{3}));
  CHECK_NEAR(entry.largest, 4, 0);
}

TEST(RowsThatDoNotLieInARow) {
  Arena arena;
  Activations activations;
  ggml_tensor* all = arena.Input(4, 2, 1, {1, 2, 9, 9, 3, 4, 9, 9});
  ggml_tensor* left = ggml_view_2d(arena.get(), all, 2, 2, all->nb[1], 0);
  CHECK(Feed(ggml_mul_mat(arena.get(), arena.Weight("a.weight", 2, 1), left), &activations));
  CHECK(activations.entries()[0].sum_squares == (std::vector<double>{10, 20}));
}

TEST(EachExpertCountsItsOwnRows) {
  Arena arena;
  Activations activations;
  ggml_tensor* weight = arena.Weight("blk.0.ffn_up_exps.weight", 2, 3, 4);
  // Two experts for each of two tokens; on the way in both see the same row.
  ggml_tensor* shared = arena.Input(2, 1, 2, {1, 2, 3, 4});
  ggml_tensor* ids = arena.Ids(2, 2, {0, 3, 3, 1});
  CHECK(Feed(ggml_mul_mat_id(arena.get(), weight, shared, ids), &activations));
  const Activation& entry = activations.entries()[0];
  CHECK(entry.sum_squares == (std::vector<double>{1, 4, 9, 16, 0, 0, 10, 20}));
  CHECK(entry.counts == (std::vector<std::int64_t>{1, 1, 0, 2}));
  // On the way out each has a row of its own.
  ggml_tensor* down = arena.Weight("blk.0.ffn_down_exps.weight", 2, 3, 4);
  ggml_tensor* own = arena.Input(2, 2, 2, {1, 0, 2, 0, 3, 0, 4, 0});
  CHECK(Feed(ggml_mul_mat_id(arena.get(), down, own, ids), &activations));
  CHECK(activations.entries()[1].sum_squares == (std::vector<double>{1, 0, 16, 0, 0, 0, 13, 0}));
}

TEST(OnlyWeightsAreAskedFor) {
  Arena arena;
  Activations activations;
  ggml_tensor* weight = arena.Weight("blk.0.attn_q.weight", 2, 2);
  ggml_tensor* input = arena.Input(2, 1, 1, {1, 2});
  CHECK(!Activations::OnTensor(ggml_add(arena.get(), weight, input), true, &activations));
  ggml_tensor* cache = arena.Weight("cache_k_l0", 2, 2);
  CHECK(!Activations::OnTensor(ggml_mul_mat(arena.get(), cache, input), true, &activations));
  ggml_tensor* view = ggml_view_tensor(arena.get(), weight);
  CHECK(!Activations::OnTensor(ggml_mul_mat(arena.get(), view, input), true, &activations));
  CHECK(activations.entries().empty());
}

TEST(ACopyOnADeviceIsTheSameWeight) {
  Arena arena;
  Activations activations;
  ggml_tensor* copy = arena.Weight("CUDA0#blk.1.attn_q.weight#0", 1, 1);
  CHECK(Feed(ggml_mul_mat(arena.get(), copy, arena.Input(1, 1, 1, {2})), &activations));
  CHECK_EQ(activations.entries()[0].name, "blk.1.attn_q.weight");
}

}  // namespace
}  // namespace edgereason
