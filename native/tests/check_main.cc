#include <algorithm>
#include <cstdio>
#include <exception>
#include <string_view>

#include "check.h"

namespace {

constexpr int kSkipCode = 77;  // ctest's SKIP_RETURN_CODE

enum class Outcome { kPassed, kFailed, kSkipped };

Outcome Run(const edgereason::test::Case& test) {
  try {
    test.run();
    return Outcome::kPassed;
  } catch (const edgereason::test::Skipped& skipped) {
    std::printf("SKIP %s: %s\n", test.name, skipped.what());
    return Outcome::kSkipped;
  } catch (const std::exception& error) {
    std::printf("FAIL %s\n  %s\n", test.name, error.what());
    return Outcome::kFailed;
  }
}

}  // namespace

int main(int argc, char** argv) {
  int num_run = 0;
  int num_failed = 0;
  int num_skipped = 0;
  for (const auto& test : edgereason::test::Cases()) {
    const auto is_this = [&](const char* name) { return std::string_view(name) == test.name; };
    if (argc > 1 && std::none_of(argv + 1, argv + argc, is_this)) continue;
    const Outcome outcome = Run(test);
    ++num_run;
    num_failed += outcome == Outcome::kFailed;
    num_skipped += outcome == Outcome::kSkipped;
  }
  std::printf("%d tests, %d failed, %d skipped\n", num_run, num_failed, num_skipped);
  if (num_failed > 0 || num_run == 0) return 1;
  return num_skipped == num_run ? kSkipCode : 0;
}
