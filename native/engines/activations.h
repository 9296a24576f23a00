// What goes into each weight matrix while a model decodes: the figures that calibrated quantization
// needs.
//
//   Activations activations;
//   params.cb_eval = &Activations::OnTensor;
//   params.cb_eval_user_data = &activations;
//   ... llama_decode ...
//   activations.entries();   // by weight, in the order in which they were first met
//
// Rows are counted where a matrix is multiplied by them: the last layer and the head see only rows
// with output, a matrix of experts only the rows that were sent to it.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

struct ggml_tensor;

namespace edgereason {

struct Activation {
  std::string name;  // of the weight, as the model file has it
  std::int64_t num_columns = 0;
  std::vector<double> sum_squares;   // [num_matrices, num_columns]
  std::vector<std::int64_t> counts;  // [num_matrices], rows seen; one matrix but for experts
  float largest = 0;                 // largest absolute value of all rows
};

class Activations {
 public:
  // For `cb_eval`. `self` is an Activations*. Ends the computation when memory runs out.
  static bool OnTensor(ggml_tensor* tensor, bool ask, void* self) noexcept;

  const std::vector<Activation>& entries() const noexcept { return entries_; }
  bool failed() const noexcept { return failed_; }  // a computation was ended half way

 private:
  void Add(const ggml_tensor* product);
  Activation& EntryOf(const ggml_tensor* product);
  const char* OnHost(const ggml_tensor* tensor, std::vector<char>* copy) const;

  std::vector<Activation> entries_;
  std::unordered_map<std::string, std::size_t> index_;
  std::vector<char> input_copy_;  // where the rows or ids lie on a device
  std::vector<char> ids_copy_;
  bool failed_ = false;
};

}  // namespace edgereason
