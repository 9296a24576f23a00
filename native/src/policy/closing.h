// How a text can be made whole soon, from where it is.
//
//   FindEnding(*grammar, json)   // behind {"name": "Ann ->  "\"}"
#pragma once

#include <optional>
#include <string>

#include "edgereason/grammar.h"
#include "policy/json_text.h"

namespace edgereason {

// A short text that completes the one that `from` has seen. It is looked for step by step: what
// ends something goes before what begins something, a number before a string, a string before an
// array or object. So it is not always the shortest. nullopt: none was found in some hundred steps.
// json: where the text is, if the grammar's texts are JSON.
std::optional<std::string> FindEnding(const Grammar& from, JsonText json);

}  // namespace edgereason
