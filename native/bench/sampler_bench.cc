// Nanoseconds per sampled token, by vocabulary and sampling. Prints a table, and one JSON object on
// its last line.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "policy/sampler.h"

namespace {

using edgereason::ContextItem;
using edgereason::Sampler;
using edgereason::Sampling;
using edgereason::Token;

struct Case {
  const char* name;
  Sampling sampling;
  bool peaked;  // a few tokens stand out, as in the logits of language models
};

// Median nanoseconds of one call, over rows that differ, so that no branch is learned by heart.
double NsPerToken(std::int32_t num_vocab, const Case& c) {
  constexpr int kRows = 8;
  constexpr int kCalls = 200;
  const auto size = static_cast<std::size_t>(num_vocab);
  std::mt19937 random(7);
  std::normal_distribution<float> noise(0.0F, c.peaked ? 3.9F : 0.5F);
  std::vector<std::vector<float>> rows(kRows, std::vector<float>(size));
  for (std::vector<float>& row : rows) {
    for (float& logit : row) logit = noise(random);
    if (!c.peaked) continue;
    for (int i = 0; i < 30; ++i) row[random() % size] = 22.0F - 0.5F * static_cast<float>(i);
  }
  std::vector<ContextItem> recent(64);
  for (std::size_t i = 0; i < recent.size(); ++i)
    recent[i] = ContextItem::OfToken(static_cast<Token>(i * 37 % size));

  Sampler sampler(num_vocab);
  std::vector<double> ns;
  std::int64_t sum = 0;
  for (int call = 0; call < kCalls; ++call) {
    const auto begin = std::chrono::steady_clock::now();
    sum += sampler
               .Sample(rows[static_cast<std::size_t>(call % kRows)], c.sampling, recent,
                       static_cast<std::uint64_t>(call))
               .token;
    const auto end = std::chrono::steady_clock::now();
    ns.push_back(std::chrono::duration<double, std::nano>(end - begin).count());
  }
  if (sum < 0) std::puts("no token");  // keeps the calls
  std::nth_element(ns.begin(), ns.begin() + kCalls / 2, ns.end());
  return ns[kCalls / 2];
}

}  // namespace

int main() {
  const Sampling greedy;
  const Sampling penalized{.repetition_penalty = 1.1F};
  const Sampling usual{.temperature = 0.6F, .top_k = 20, .top_p = 0.95F};
  const Sampling nucleus{.temperature = 0.7F, .top_p = 0.95F};
  const Sampling min_p{.temperature = 1.0F, .min_p = 0.05F};
  const Sampling plain{.temperature = 1.0F};
  const std::vector<Case> cases = {
      {"greedy", greedy, true},        {"greedy, penalty", penalized, true},
      {"top-k, top-p", usual, true},   {"top-p", nucleus, true},
      {"min-p", min_p, true},          {"temperature", plain, true},
      {"top-p, flat", nucleus, false}, {"temperature, flat", plain, false},
  };
  std::printf("%-20s %10s %12s\n", "sampling", "vocabulary", "us per token");
  std::string json;
  for (const std::int32_t num_vocab : {49152, 151936}) {
    for (const Case& c : cases) {
      const double ns = NsPerToken(num_vocab, c);
      std::printf("%-20s %10d %12.1f\n", c.name, num_vocab, ns / 1000);
      json += (json.empty() ? "" : ", ");
      json += "{\"sampling\": \"" + std::string(c.name) +
              "\", \"num_vocab\": " + std::to_string(num_vocab) +
              ", \"ns_per_token\": " + std::to_string(static_cast<std::int64_t>(ns)) + "}";
    }
  }
  std::printf("{\"bench\": \"sampler\", \"results\": [%s]}\n", json.c_str());
  return 0;
}
