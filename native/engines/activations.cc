#include "activations.h"

#include <ggml-backend.h>
#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <string_view>
#include <utility>

namespace edgereason {
namespace {

// A weight that was copied to a device for one step is called "DEVICE#name#0".
std::string_view WeightName(const ggml_tensor* tensor) {
  std::string_view name = ggml_get_name(tensor);
  const auto begin = name.find('#');
  if (begin == std::string_view::npos) return name;
  name.remove_prefix(begin + 1);
  return name.substr(0, name.find('#'));
}

bool MultipliesWeight(const ggml_tensor* tensor) {
  if (tensor->op != GGML_OP_MUL_MAT && tensor->op != GGML_OP_MUL_MAT_ID) return false;
  const ggml_tensor* weight = tensor->src[0];
  // The KV cache is multiplied, too; its tensors are views.
  return weight->op == GGML_OP_NONE && WeightName(weight).ends_with(".weight") &&
         tensor->src[1]->type == GGML_TYPE_F32;
}

std::size_t Offset(std::int64_t index, std::size_t stride) {
  return static_cast<std::size_t>(index) * stride;
}

void AddRow(const char* row, std::int64_t matrix, Activation* entry) {
  const auto* values = reinterpret_cast<const float*>(row);
  double* sums = entry->sum_squares.data() + matrix * entry->num_columns;
  float largest = entry->largest;
  for (std::int64_t i = 0; i < entry->num_columns; ++i) {
    sums[i] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    largest = std::max(largest, std::abs(values[i]));
  }
  entry->largest = largest;
  ++entry->counts[static_cast<std::size_t>(matrix)];
}

// Rows [columns, rows, ...]: all go through the one matrix.
void AddDense(const ggml_tensor* input, const char* data, Activation* entry) {
  for (std::int64_t i3 = 0; i3 < input->ne[3]; ++i3) {
    for (std::int64_t i2 = 0; i2 < input->ne[2]; ++i2) {
      for (std::int64_t i1 = 0; i1 < input->ne[1]; ++i1) {
        AddRow(
            data + Offset(i1, input->nb[1]) + Offset(i2, input->nb[2]) + Offset(i3, input->nb[3]),
            0, entry);
      }
    }
  }
}

// Rows [columns, 1 or experts used, tokens] and ids [experts used, tokens].
void AddExperts(const ggml_tensor* input, const char* data, const ggml_tensor* ids,
                const char* ids_data, Activation* entry) {
  const auto num_matrices = static_cast<std::int64_t>(entry->counts.size());
  for (std::int64_t token = 0; token < ids->ne[1]; ++token) {
    for (std::int64_t used = 0; used < ids->ne[0]; ++used) {
      const auto expert = *reinterpret_cast<const std::int32_t*>(
          ids_data + Offset(token, ids->nb[1]) + Offset(used, ids->nb[0]));
      if (expert < 0 || expert >= num_matrices) continue;
      AddRow(data + Offset(used % input->ne[1], input->nb[1]) + Offset(token, input->nb[2]), expert,
             entry);
    }
  }
}

}  // namespace

bool Activations::OnTensor(ggml_tensor* tensor, bool ask, void* self) noexcept {
  if (ask) return MultipliesWeight(tensor);
  auto* const activations = static_cast<Activations*>(self);
  try {
    activations->Add(tensor);
    return true;
  } catch (const std::exception&) {
    activations->failed_ = true;
    return false;
  }
}

void Activations::Add(const ggml_tensor* product) {
  const ggml_tensor* input = product->src[1];
  Activation& entry = EntryOf(product);
  const char* data = OnHost(input, &input_copy_);
  if (product->op == GGML_OP_MUL_MAT_ID) {
    const ggml_tensor* ids = product->src[2];
    AddExperts(input, data, ids, OnHost(ids, &ids_copy_), &entry);
  } else {
    AddDense(input, data, &entry);
  }
}

Activation& Activations::EntryOf(const ggml_tensor* product) {
  std::string name(WeightName(product->src[0]));
  const auto found = index_.find(name);
  if (found != index_.end()) return entries_[found->second];
  const std::int64_t num_columns = product->src[1]->ne[0];
  const std::int64_t num_matrices =
      product->op == GGML_OP_MUL_MAT_ID ? product->src[0]->ne[2] : std::int64_t{1};
  entries_.push_back(
      {.name = name,
       .num_columns = num_columns,
       .sum_squares = std::vector<double>(static_cast<std::size_t>(num_columns * num_matrices)),
       .counts = std::vector<std::int64_t>(static_cast<std::size_t>(num_matrices))});
  index_.emplace(std::move(name), entries_.size() - 1);
  return entries_.back();
}

const char* Activations::OnHost(const ggml_tensor* tensor, std::vector<char>* copy) const {
  if (tensor->buffer == nullptr || ggml_backend_buffer_is_host(tensor->buffer)) {
    return static_cast<const char*>(tensor->data);
  }
  copy->resize(ggml_nbytes(tensor));
  ggml_backend_tensor_get(tensor, copy->data(), 0, copy->size());
  return copy->data();
}

}  // namespace edgereason
