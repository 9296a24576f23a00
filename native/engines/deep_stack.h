// Work that may recurse deeply.
#pragma once

#include <cstddef>
#include <functional>

namespace edgereason {

// Runs `work` on a thread of its own that has `num_bytes` of stack, and waits for it. Pages that
// are not touched cost nothing. What `work` throws is thrown here. Throws kMemoryLimit where there
// is no such stack.
void OnDeepStack(std::size_t num_bytes, const std::function<void()>& work);

}  // namespace edgereason
