// A test program in one header: tests register themselves, checks print what they saw.
//
//   TEST(BudgetIsCumulative) {
//     TokenBudget budget(2);
//     budget.Spend();
//     CHECK(budget.can_spend());
//     CHECK_EQ(budget.used(), 1);
//     CHECK_THROWS(Open("nowhere"), Error);
//   }
//
// One program a file; it links check_main.cc. `program NAME...` runs only those tests. A failed
// check ends its test.
#pragma once

#include <concepts>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace edgereason::test {

struct Case {
  const char* name;
  void (*run)();
};

inline std::vector<Case>& Cases() {
  static std::vector<Case> cases;
  return cases;
}

struct Register {
  Register(const char* name, void (*run)()) { Cases().push_back({name, run}); }
};

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The test cannot run on this machine; thrown by SKIP.
struct Skipped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void Fail(const char* file, int line, const std::string& what) {
  std::ostringstream out;
  out << file << ":" << line << ": " << what;
  throw Failure(out.str());
}

template <typename T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };

template <typename T>
void Print(std::ostream& out, const T& value) {
  if constexpr (std::is_enum_v<T>) {
    out << static_cast<long long>(value);
  } else if constexpr (Printable<T>) {
    out << value;
  } else if constexpr (requires {
                         value.begin();
                         value.end();
                       }) {
    out << "[";
    for (const auto& item : value) {
      Print(out, item);
      out << " ";
    }
    out << "]";
  } else {
    out << "(not printable)";
  }
}

template <typename T>
concept Number = std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char>;

template <typename A, typename B>
bool Same(const A& got, const B& want) {
  if constexpr (Number<A> && Number<B>) {
    return std::cmp_equal(got, want);  // a count may be signed on one side only
  } else {
    return got == want;
  }
}

template <typename A, typename B>
void CheckEq(const A& got, const B& want, const char* text, const char* file, int line) {
  if (Same(got, want)) return;
  std::ostringstream out;
  out << text << "\n    got:  ";
  Print(out, got);
  out << "\n    want: ";
  Print(out, want);
  Fail(file, line, out.str());
}

inline void CheckNear(double got, double want, double within, const char* text, const char* file,
                      int line) {
  const double off = got > want ? got - want : want - got;
  if (off <= within) return;
  std::ostringstream out;
  out << text << "\n    got:  " << got << "\n    want: " << want << " +- " << within;
  Fail(file, line, out.str());
}

}  // namespace edgereason::test

#define TEST(name)                                                               \
  static void Test##name();                                                      \
  static const ::edgereason::test::Register register_##name(#name, &Test##name); \
  static void Test##name()

#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) ::edgereason::test::Fail(__FILE__, __LINE__, "CHECK(" #condition ")"); \
  } while (false)

#define CHECK_EQ(got, want) \
  ::edgereason::test::CheckEq(got, want, "CHECK_EQ(" #got ", " #want ")", __FILE__, __LINE__)

#define CHECK_NEAR(got, want, within)                                                           \
  ::edgereason::test::CheckNear(got, want, within, "CHECK_NEAR(" #got ", " #want ")", __FILE__, \
                                __LINE__)

#define CHECK_THROWS(expression, Type)                                                             \
  do {                                                                                             \
    bool threw = false;                                                                            \
    try {                                                                                          \
      (void)(expression);                                                                          \
    } catch (const Type&) {                                                                        \
      threw = true;                                                                                \
    }                                                                                              \
    if (!threw) ::edgereason::test::Fail(__FILE__, __LINE__, #expression " did not throw " #Type); \
  } while (false)

#define SKIP(reason) throw ::edgereason::test::Skipped(reason)
