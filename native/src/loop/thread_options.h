// What is asked of the system for the thread that decodes. libllama's threads are started by it and
// inherit its cores and its nice value.
#pragma once

#include "edgereason/scheduler.h"

namespace edgereason {

// For the calling thread. Throws kUsage where a core is not there or may not be used, kUnsupported
// where the system cannot, or forbids it.
void PlaceThread(const ThreadOptions& options);

// All pages that the process holds now are brought into RAM and stay there. Throws kMemoryLimit
// where the system allows less, kUnsupported where it has no such thing.
void LockMemory();

}  // namespace edgereason
