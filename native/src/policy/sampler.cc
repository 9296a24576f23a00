#include "policy/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>

namespace edgereason {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kExpEnd = 87.0F;  // exp(-87) is the least that a float holds in full precision

// Loops run over lanes, so that the compiler may use vectors without reordering sums by itself.
constexpr std::size_t kLanes = 16;
using Lanes = std::array<float, kLanes>;

// A second copy of a function for newer processors, chosen when the library is loaded: before the
// thread sanitizer is ready, so not under it.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && __GNUC__ >= 12 && \
    !defined(__SANITIZE_THREAD__)
#define EDGEREASON_CLONES __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define EDGEREASON_CLONES
#endif

// The lesser of x >= 0 and kExpEnd, compared as integers: the compiler makes a branch of it in
// floats.
inline float Bounded(float x) noexcept {
  constexpr auto kMost = std::bit_cast<std::int32_t>(kExpEnd);
  const auto bits = std::bit_cast<std::int32_t>(x);
  return std::bit_cast<float>(bits < kMost ? bits : kMost);
}

// exp(-x) for x in [0, kExpEnd], without a branch or a call, so that loops over it become vectors.
// Relative error below 3e-7.
inline float ExpMinus(float x) noexcept {
  // exp(-x) = 2^whole * exp(r), with r in [-ln 2 / 2, ln 2 / 2].
  constexpr float kShift = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = kShift - x * 1.44269504F;
  const float whole = shifted - kShift;
  const float r = (whole * -0.693359375F - x) + whole * 2.12194440e-4F;  // ln 2 in two parts
  float p = 0.00831247773F;
  p = p * r + 0.0418905504F;
  p = p * r + 0.166671157F;
  p = p * r + 0.499992281F;
  p = p * r * r + r + 1.0F;
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) << 23;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) + exponent);
}

struct TopTwo {
  float best = -kInf;
  float second = -kInf;
  bool all_below_inf = true;  // false where one is +inf or no number

  // One of x can be drawn, and all of it was computed.
  bool usable() const noexcept { return all_below_inf && best > -kInf; }
};

EDGEREASON_CLONES
TopTwo FindTopTwo(std::span<const float> x) noexcept {
  Lanes best;
  Lanes second;
  std::array<std::int32_t, kLanes> below;
  best.fill(-kInf);
  second.fill(-kInf);
  below.fill(1);
  const auto add = [&](std::size_t lane, float value) {
    below[lane] &= value < kInf ? 1 : 0;  // so that a NaN counts too
    const float lower = value < best[lane] ? value : best[lane];
    second[lane] = second[lane] < lower ? lower : second[lane];
    best[lane] = best[lane] < value ? value : best[lane];
  };
  std::size_t i = 0;
  for (; i + kLanes <= x.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) add(lane, x[i + lane]);
  }
  for (; i < x.size(); ++i) add(0, x[i]);
  TopTwo top;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    top.second = std::max({std::min(top.best, best[lane]), top.second, second[lane]});
    top.best = std::max(top.best, best[lane]);
    top.all_below_inf = top.all_below_inf && below[lane] != 0;
  }
  return top;
}

// Whether one of the kLanes values at `x` is `floor` or more.
inline bool AnyAtLeast(const float* x, float floor) noexcept {
  std::int32_t any = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) any |= x[lane] >= floor ? 1 : 0;
  return any != 0;
}

// Calls visit(i) for every x[i] >= floor, in order, until it returns false.
template <typename Visit>
inline void ForEachAtLeast(std::span<const float> x, float floor, Visit visit) noexcept {
  std::size_t i = 0;
  while (i < x.size()) {
    if (i + kLanes <= x.size() && !AnyAtLeast(&x[i], floor)) {
      i += kLanes;
      continue;
    }
    for (const std::size_t end = std::min(i + kLanes, x.size()); i < end; ++i) {
      if (x[i] >= floor && !visit(i)) return;
    }
  }
}

Token FirstAtLeast(std::span<const float> x, float floor) noexcept {
  Token first = 0;
  ForEachAtLeast(x, floor, [&](std::size_t i) {
    first = static_cast<Token>(i);
    return false;
  });
  return first;
}

struct ExpSums {
  double mass = 0;    // sum of exp(-d), where d = (best - x) * scale
  double spread = 0;  // sum of d * exp(-d)
};

EDGEREASON_CLONES
ExpSums SumExp(std::span<const float> x, float best, float scale) noexcept {
  constexpr std::size_t kBlock = 64 * kLanes;  // floats are added in short runs, runs in doubles
  ExpSums sums;
  for (std::size_t begin = 0; begin < x.size(); begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, x.size());
    Lanes mass{};
    Lanes spread{};
    const auto add = [&](std::size_t lane, float value) {
      const float d = Bounded((best - value) * scale);  // also where value is -inf
      const float e = ExpMinus(d);
      mass[lane] += e;
      spread[lane] += d * e;
    };
    std::size_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) add(lane, x[i + lane]);
    }
    for (; i < end; ++i) add(0, x[i]);
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      sums.mass += static_cast<double>(mass[lane]);
      sums.spread += static_cast<double>(spread[lane]);
    }
  }
  return sums;
}

std::uint64_t Mix(std::uint64_t x) noexcept {  // the finalizer of splitmix64
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

}  // namespace

double CounterUniform(std::uint64_t seed, std::uint64_t index) noexcept {
  constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15U;
  const std::uint64_t stream = Mix(seed + kGolden);  // so that near seeds share no stretch
  return static_cast<double>(Mix(stream + (index + 1) * kGolden) >> 11) * 0x1p-53;
}

Sampler::Sampler(std::int32_t num_vocab)
    : adjusted_(static_cast<std::size_t>(num_vocab)), seen_(static_cast<std::size_t>(num_vocab)) {
  candidates_.reserve(static_cast<std::size_t>(num_vocab));
  blend_.reserve(static_cast<std::size_t>(kMostBlended));
}

bool LogProbs(std::span<const float> logits, std::span<const Token> tokens,
              std::vector<double>* scores) {
  const TopTwo raw = FindTopTwo(logits);
  if (!raw.usable()) return false;
  const double log_mass = std::log(SumExp(logits, raw.best, 1.0F).mass);
  for (const Token token : tokens) {
    const float logit = logits[static_cast<std::size_t>(token)];
    scores->push_back(static_cast<double>(logit - raw.best) - log_mass);
  }
  return true;
}

Sampled Sampler::Sample(std::span<const float> logits, const Sampling& sampling,
                        std::span<const ContextItem> recent, std::uint64_t draw, Token lift,
                        float lift_share, std::span<const std::uint8_t> banned,
                        std::span<const std::uint32_t> allowed) noexcept {
  const TopTwo raw = FindTopTwo(logits);
  if (!raw.usable()) return {};
  const std::span<const float> adjusted =
      Adjust(logits, sampling, recent, lift, lift_share, banned, allowed);
  if (adjusted.empty()) return {};
  Token token = 0;
  if (sampling.temperature > 0) {
    token = Draw(adjusted, sampling, CounterUniform(sampling.seed, draw));
  } else {
    const bool is_raw = adjusted.data() == logits.data();
    token = FirstAtLeast(adjusted, is_raw ? raw.best : FindTopTwo(adjusted).best);
  }
  const ExpSums sums = SumExp(logits, raw.best, 1.0F);
  const double log_mass = std::log(sums.mass);
  const auto distance = static_cast<double>(logits[static_cast<std::size_t>(token)] - raw.best);
  const auto second = static_cast<double>(ExpMinus(Bounded(raw.best - raw.second)));
  return {.token = token,
          .logprob = static_cast<float>(distance - log_mass),
          .margin = static_cast<float>((1.0 - second) / sums.mass),
          .entropy = static_cast<float>(log_mass + sums.spread / sums.mass)};
}

std::span<const float> Sampler::Adjust(std::span<const float> logits, const Sampling& sampling,
                                       std::span<const ContextItem> recent, Token lift,
                                       float lift_share, std::span<const std::uint8_t> banned,
                                       std::span<const std::uint32_t> allowed) noexcept {
  const bool penalized = sampling.repetition_penalty != 1.0F || sampling.presence_penalty != 0.0F;
  const bool lifted = lift != kNoToken && lift_share > 0.0F;
  const bool changed = penalized || lifted || !banned.empty() || !sampling.logit_bias.empty();
  if (!changed && allowed.empty()) return logits;
  std::copy(logits.begin(), logits.end(), adjusted_.begin());

  if (penalized) {
    if (++generation_ == 0) {  // wrapped: old marks would look new
      std::fill(seen_.begin(), seen_.end(), 0U);
      generation_ = 1;
    }
    const auto window = static_cast<std::size_t>(std::max(sampling.penalty_window, 0));
    for (const ContextItem item : recent.last(std::min(window, recent.size()))) {
      const Token token = item.token();
      if (token == kNoToken) continue;
      const auto i = static_cast<std::size_t>(token);
      if (seen_[i] == generation_) continue;
      seen_[i] = generation_;
      float& logit = adjusted_[i];
      logit = logit > 0 ? logit / sampling.repetition_penalty : logit * sampling.repetition_penalty;
      logit -= sampling.presence_penalty;
    }
  }
  for (const LogitBias& bias : sampling.logit_bias) {
    adjusted_[static_cast<std::size_t>(bias.token)] += bias.bias;
  }
  if (lifted && adjusted_[static_cast<std::size_t>(lift)] > -kInf) {
    float& logit = adjusted_[static_cast<std::size_t>(lift)];
    const float own = logit;
    logit = -kInf;
    const float best_other = FindTopTwo(adjusted_).best;
    logit = own + lift_share * std::max(0.0F, best_other - own + 1.0F);
  }
  for (std::size_t i = 0; i < banned.size(); ++i) {
    if (banned[i] != 0) adjusted_[i] = -kInf;
  }
  if (allowed.empty() || Restrict(allowed)) return adjusted_;
  std::copy(logits.begin(), logits.end(), adjusted_.begin());
  return Restrict(allowed) ? std::span<const float>(adjusted_) : std::span<const float>();
}

// Takes out what is not allowed. False: nothing is left.
bool Sampler::Restrict(std::span<const std::uint32_t> allowed) noexcept {
  constexpr std::size_t kBits = 32;
  float best = -kInf;
  for (std::size_t word = 0; word < allowed.size(); ++word) {
    const std::size_t begin = word * kBits;
    const std::size_t end = std::min(begin + kBits, adjusted_.size());
    for (std::size_t i = begin; i < end; ++i) {
      if ((allowed[word] >> (i - begin) & 1U) == 0) adjusted_[i] = -kInf;
      best = std::max(best, adjusted_[i]);
    }
  }
  return best > -kInf;
}

bool Sampler::Before(const Candidate& a, const Candidate& b) noexcept {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

std::vector<Sampler::Candidate>::iterator Sampler::At(std::size_t i) noexcept {
  return candidates_.begin() + static_cast<std::ptrdiff_t>(i);
}

// The sum of the weights of candidates [begin, end).
double Sampler::Mass(std::size_t begin, std::size_t end) const noexcept {
  double mass = 0;
  for (; begin < end; ++begin) mass += static_cast<double>(candidates_[begin].weight);
  return mass;
}

// Makes candidates of all tokens whose scaled distance to the best is `reach` at most. Returns the
// sum of their weights.
double Sampler::Collect(std::span<const float> logits, float best, float scale,
                        float reach) noexcept {
  candidates_.clear();
  double mass = 0;
  // A -inf is never a candidate, however far `reach` goes.
  const float floor = std::max(best - reach / scale, std::numeric_limits<float>::lowest());
  ForEachAtLeast(logits, floor, [&](std::size_t i) {
    const float weight = ExpMinus(Bounded((best - logits[i]) * scale));
    candidates_.push_back({logits[i], weight, static_cast<Token>(i)});
    mass += static_cast<double>(weight);
    return true;
  });
  return mass;
}

// The shortest prefix of the first `size` candidates, best first, that holds `mass`; all of them
// where that is not reached. Brings the prefix to the front, its last candidate last; the ones
// before that stay unsorted. Halves the stretch in question, so that no long stretch is sorted.
Sampler::Prefix Sampler::ShortestPrefix(std::size_t size, double mass) noexcept {
  constexpr std::size_t kFewEnough = 64;
  std::size_t begin = 0;
  std::size_t end = size;
  double before = 0;
  while (end - begin > kFewEnough) {
    const std::size_t middle = begin + (end - begin) / 2;
    std::nth_element(At(begin), At(middle), At(end), Before);
    const double half = Mass(begin, middle);
    if (before + half >= mass) {
      end = middle;
    } else {
      before += half;
      begin = middle;
    }
  }
  std::sort(At(begin), At(end), Before);
  for (; begin < end; ++begin) {
    before += static_cast<double>(candidates_[begin].weight);
    if (before >= mass) return {begin + 1, before};
  }
  return {end, before};
}

Token Sampler::Draw(std::span<const float> logits, const Sampling& sampling,
                    double uniform) noexcept {
  const float best = FindTopTwo(logits).best;
  if (best == -kInf) return 0;  // everything is banned
  const float scale = std::min(1.0F / sampling.temperature, std::numeric_limits<float>::max());
  const auto top_k = static_cast<std::size_t>(std::max(sampling.top_k, 0));
  const auto top_p = static_cast<double>(sampling.top_p);
  const float min_p = sampling.min_p;

  // Every filter keeps a prefix of the tokens, best first. Collect as few as hold the outcome: the
  // first `top_k`, or the mass that top_p keeps, or all above min_p, or the mass up to the draw.
  double total = top_k > 0 ? 0.0 : SumExp(logits, best, scale).mass;
  const double wanted = total * (top_p < 1.0 ? top_p : uniform);
  const bool by_weight = top_k == 0 && top_p >= 1.0 && min_p > 0.0F;
  const float furthest = by_weight ? -std::log(min_p) : 0.0F;
  for (float reach = 8.0F;; reach *= 1.5F) {
    const bool all = reach > kExpEnd;  // beyond it weights are all alike
    const double mass = Collect(logits, best, scale, all ? kInf : reach);
    const std::size_t num = candidates_.size();
    if (all || (top_k > 0 ? num >= top_k : by_weight ? reach >= furthest : mass >= wanted)) break;
  }

  std::size_t size = candidates_.size();
  if (top_k > 0) {
    if (top_k < size) {
      std::nth_element(candidates_.begin(), At(top_k), candidates_.end(), Before);
      size = top_k;
    }
    total = Mass(0, size);
  }
  if (top_p < 1.0) {
    const Prefix kept = ShortestPrefix(size, total * top_p);
    size = kept.size;
    total = kept.mass;
  }
  if (min_p > 0.0F) {
    const auto end = std::partition(candidates_.begin(), At(size),
                                    [=](const Candidate& c) { return c.weight >= min_p; });
    size = static_cast<std::size_t>(end - candidates_.begin());
    total = Mass(0, size);
  }
  // A bias so large that the best logit is infinite leaves no weight to anybody.
  if (size == 0) return FirstAtLeast(logits, best);
  return candidates_[ShortestPrefix(size, uniform * total).size - 1].token;
}

std::span<const Weighted> Sampler::Weigh(std::span<const float> logits, const Sampling& sampling,
                                         const Blend& blend, std::span<const ContextItem> recent,
                                         std::uint64_t draw, Token lift, float lift_share,
                                         std::span<const std::uint8_t> banned) noexcept {
  const auto adjusted = Adjust(logits, sampling, recent, lift, lift_share, banned, {});
  const float best = FindTopTwo(adjusted).best;
  blend_.clear();
  if (sampling.temperature <= 0 || best == -kInf) {
    blend_.push_back({FirstAtLeast(adjusted, best), 1});
    return blend_;
  }
  const float scale = std::min(1.0F / sampling.temperature, std::numeric_limits<float>::max());
  auto top = static_cast<std::size_t>(std::min(blend.top, kMostBlended));
  if (sampling.top_k > 0) top = std::min(top, static_cast<std::size_t>(sampling.top_k));
  for (float reach = 8.0F;; reach *= 1.5F) {
    const bool all = reach > kExpEnd;
    Collect(adjusted, best, scale, all ? kInf : reach);
    if (all || candidates_.size() >= top) break;
  }
  const std::size_t size = std::min(top, candidates_.size());
  std::partial_sort(candidates_.begin(), At(size), candidates_.end(), Before);
  const double most = SumExp(adjusted, best, scale).mass * static_cast<double>(sampling.top_p);
  double mass = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const float weight = candidates_[i].weight;
    if (i > 0 && (weight < sampling.min_p || mass >= most)) break;
    mass += static_cast<double>(weight);
    blend_.push_back({candidates_[i].token, weight});
  }
  if (blend.noise > 0 && blend_.size() > 1) AddNoise(sampling, blend.noise, draw);
  double sum = 0;
  for (const Weighted& each : blend_) sum += static_cast<double>(each.weight);
  for (Weighted& each : blend_) {
    each.weight = static_cast<float>(static_cast<double>(each.weight) / sum);
  }
  return blend_;
}

// Weights become softmax((log weight + Gumbel) / noise), times a constant; the heaviest comes first.
void Sampler::AddNoise(const Sampling& sampling, float noise, std::uint64_t draw) noexcept {
  constexpr std::uint64_t kStream = 0x736f667420726f77ULL;  // another than that of draws
  double highest = -std::numeric_limits<double>::infinity();
  std::array<double, kMostBlended> scores{};
  for (std::size_t i = 0; i < blend_.size(); ++i) {
    const double uniform =
        CounterUniform(sampling.seed ^ kStream, draw * std::uint64_t{kMostBlended} + i);
    const double gumbel = -std::log(-std::log(uniform + 0x1p-54));
    const auto weight = std::max(blend_[i].weight, std::numeric_limits<float>::min());
    scores[i] = (std::log(static_cast<double>(weight)) + gumbel) / static_cast<double>(noise);
    highest = std::max(highest, scores[i]);
  }
  for (std::size_t i = 0; i < blend_.size(); ++i) {
    blend_[i].weight = static_cast<float>(std::exp(scores[i] - highest));
  }
  std::sort(blend_.begin(), blend_.end(), [](const Weighted& a, const Weighted& b) {
    return a.weight > b.weight || (a.weight == b.weight && a.token < b.token);
  });
}

}  // namespace edgereason
