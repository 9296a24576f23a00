#include "loop/thread_options.h"

#include <cerrno>
#include <cstring>
#include <string>

#ifdef __linux__
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#endif

namespace edgereason {

#ifdef __linux__

namespace {

void SetCores(const std::vector<std::int32_t>& cores) {
  cpu_set_t allowed;
  cpu_set_t wanted;
  CPU_ZERO(&allowed);
  CPU_ZERO(&wanted);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) CPU_ZERO(&allowed);
  for (const std::int32_t core : cores) {
    if (core < 0 || core >= CPU_SETSIZE || !CPU_ISSET(core, &allowed)) {
      throw Error(ErrorCode::kUsage,
                  "core " + std::to_string(core) + " is none that this process may use",
                  "`taskset -pc $$` lists those");
    }
    CPU_SET(core, &wanted);
  }
  if (sched_setaffinity(0, sizeof(wanted), &wanted) != 0) {
    throw Error(ErrorCode::kUnsupported,
                std::string("the system does not take the cores: ") + std::strerror(errno));
  }
}

void SetNice(std::int32_t nice) {
  if (nice < -20 || nice > 19) {
    throw Error(ErrorCode::kUsage, "nice must be in [-20, 19], got " + std::to_string(nice));
  }
  // On Linux a nice value belongs to a thread, and 0 is the calling one.
  if (setpriority(PRIO_PROCESS, 0, nice) != 0) {
    throw Error(
        ErrorCode::kUnsupported,
        "the system forbids a nice value of " + std::to_string(nice) + ": " + std::strerror(errno),
        "values below 0 need CAP_SYS_NICE, or RLIMIT_NICE");
  }
}

}  // namespace

void PlaceThread(const ThreadOptions& options) {
  if (!options.cores.empty()) SetCores(options.cores);
  if (options.nice != 0) SetNice(options.nice);
}

void LockMemory() {
  if (mlockall(MCL_CURRENT) == 0) return;
  const int why = errno;
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  throw Error(ErrorCode::kMemoryLimit,
              std::string("the memory of the process cannot be locked: ") + std::strerror(why) +
                  ", the limit is " + std::to_string(limit.rlim_cur >> 10) + " KiB",
              "raise it (ulimit -l, or LimitMEMLOCK= in a systemd unit), or leave the option out");
}

#else

void PlaceThread(const ThreadOptions& options) {
  if (options.cores.empty() && options.nice == 0) return;
  throw Error(ErrorCode::kUnsupported, "cores and nice values are for Linux");
}

void LockMemory() { throw Error(ErrorCode::kUnsupported, "memory is locked on Linux only"); }

#endif

}  // namespace edgereason
