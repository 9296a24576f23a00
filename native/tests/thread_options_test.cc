#include "loop/thread_options.h"

#include <thread>

#include "check.h"
#include "edgereason/scripted.h"

#ifdef __linux__
#include <sched.h>
#include <sys/resource.h>
#endif

namespace edgereason {
namespace {

#ifdef __linux__

// Runs `work` on a thread of its own, whose cores and nice value go with it.
template <typename Work>
void Elsewhere(Work work) {
  std::exception_ptr failed;
  std::thread([&] {
    try {
      work();
    } catch (...) {
      failed = std::current_exception();
    }
  }).join();
  if (failed) std::rethrow_exception(failed);
}

std::vector<std::int32_t> AllowedCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  CHECK_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  std::vector<std::int32_t> cores;
  for (std::int32_t core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(static_cast<std::size_t>(core), &set)) cores.push_back(core);
  }
  return cores;
}

TEST(TheThreadRunsOnTheCoresThatAreNamed) {
  const std::vector<std::int32_t> before = AllowedCores();
  Elsewhere([&] {
    PlaceThread({.cores = {before.back()}});
    CHECK_EQ(AllowedCores(), std::vector<std::int32_t>{before.back()});
  });
  CHECK_EQ(AllowedCores(), before);
}

TEST(ThreadsThatItStartsInheritThem) {
  const std::int32_t core = AllowedCores().back();
  Elsewhere([&] {
    PlaceThread({.cores = {core}, .nice = 7});
    Elsewhere([&] {
      CHECK_EQ(AllowedCores(), std::vector<std::int32_t>{core});
      CHECK_EQ(getpriority(PRIO_PROCESS, 0), 7);
    });
  });
}

TEST(CoresThatAreNotThereAreRefusedByNumber) {
  for (const std::int32_t core : {-1, 1023, 1 << 20}) {
    try {
      Elsewhere([&] { PlaceThread({.cores = {core}}); });
      CHECK(core == 1023 && AllowedCores().back() == 1023);
    } catch (const Error& error) {
      CHECK_EQ(error.code(), ErrorCode::kUsage);
      CHECK(std::string(error.what()).find(std::to_string(core)) != std::string::npos);
    }
  }
}

TEST(NiceValuesOutOfRangeAreRefused) {
  CHECK_THROWS(Elsewhere([] { PlaceThread({.nice = 20}); }), Error);
  CHECK_THROWS(Elsewhere([] { PlaceThread({.nice = -21}); }), Error);
}

TEST(AModelIsNotOpenedWhereItsThreadCannotBePlaced) {
  auto engine = std::make_shared<ScriptedEngine>(ScriptedOptions{});
  Scheduler scheduler(engine, std::make_shared<SteadyClock>(), {.thread = {.nice = 99}});
  CHECK_THROWS(scheduler.Start(), Error);
}

TEST(NoMoreThreadsThanCoresThatAreNamed) {
  const std::int32_t core = AllowedCores().back();
  auto engine = std::make_shared<ScriptedEngine>(ScriptedOptions{.max_threads = 4});
  const auto open = [&](std::int32_t threads) {
    Scheduler scheduler(engine, std::make_shared<SteadyClock>(),
                        {.num_threads = threads, .thread = {.cores = {core}}});
    scheduler.Start();
    CHECK_EQ(engine->num_threads(), 1);
  };
  open(0);
  open(1);
  CHECK_THROWS(open(2), Error);
}

#endif

}  // namespace
}  // namespace edgereason
