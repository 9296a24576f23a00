// Whether two models speak of the same tokens.
#pragma once

#include <cstddef>
#include <string>

#include "edgereason/engine.h"

namespace edgereason {

// How many of the first tokens both have: all of those of the shorter one. Throws kBundle, with
// `hint`, where one of them is another; `other` is what the message calls the second model.
std::size_t NumShared(const Vocab& model, const Vocab& second, const std::string& other,
                      const std::string& hint);

}  // namespace edgereason
