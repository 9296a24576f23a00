// From Python objects to the fields of our records and back, by the tables of fields.h: one place
// knows how a type crosses, none lists the fields. All need the GIL; on failure a Python exception
// is set.
#pragma once

#include <Python.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "edgereason/event.h"
#include "edgereason/fields.h"
#include "edgereason/grammar.h"
#include "translate_error.h"

namespace edgereason {

// A reference that is given back at the end of the scope.
class Owned {
 public:
  explicit Owned(PyObject* object) noexcept : object_(object) {}
  ~Owned() { Py_XDECREF(object_); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  PyObject* get() const noexcept { return object_; }
  PyObject* release() noexcept { return std::exchange(object_, nullptr); }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  PyObject* object_;
};

// ---- from Python; false: an exception is set

template <typename Enum, std::size_t kNum>
bool NameToEnum(PyObject* member, const std::array<std::string_view, kNum>& names, Enum* out) {
  const Owned name(PyObject_GetAttrString(member, "value"));
  Py_ssize_t size = 0;
  const char* const text = name ? PyUnicode_AsUTF8AndSize(name.get(), &size) : nullptr;
  if (text == nullptr) return false;
  for (std::size_t i = 0; i < kNum; ++i) {
    if (names[i] != std::string_view(text, static_cast<std::size_t>(size))) continue;
    *out = static_cast<Enum>(i);
    return true;
  }
  PyErr_Format(PyExc_ValueError, "the core knows no %R", member);
  return false;
}

inline bool FromPython(PyObject* value, Role* out) { return NameToEnum(value, kRoleNames, out); }

inline bool FromPython(PyObject* value, std::int32_t* out) {
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
  if (number == -1 && PyErr_Occurred()) return false;
  if (overflow != 0 || number != static_cast<std::int32_t>(number)) {
    PyErr_Format(PyExc_OverflowError, "must fit 32 bits, got %R", value);
    return false;
  }
  *out = static_cast<std::int32_t>(number);
  return true;
}

inline bool FromPython(PyObject* value, std::uint64_t* out) {
  *out = PyLong_AsUnsignedLongLong(value);
  return !PyErr_Occurred();
}

inline bool FromPython(PyObject* value, bool* out) {
  const int truth = PyObject_IsTrue(value);
  *out = truth > 0;
  return truth >= 0;
}

inline bool FromPython(PyObject* value, double* out) {
  *out = PyFloat_AsDouble(value);
  return !PyErr_Occurred();
}

inline bool FromPython(PyObject* value, float* out) {
  double number = 0;
  if (!FromPython(value, &number)) return false;
  *out = static_cast<float>(number);
  return true;
}

inline bool FromPython(PyObject* value, std::string* out) {
  char* bytes = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(value, &bytes, &size) < 0) return false;
  out->assign(bytes, static_cast<std::size_t>(size));
  return true;
}

inline bool FromPython(PyObject* pair, LogitBias* out) {
  return FromPython(PyTuple_GET_ITEM(pair, 0), &out->token) &&
         FromPython(PyTuple_GET_ITEM(pair, 1), &out->bias);
}

template <typename T>
bool FromPython(PyObject* value, std::vector<T>* out) {
  const Owned items(PyMapping_Check(value) && !PySequence_Check(value) ? PyMapping_Items(value)
                                                                       : Py_NewRef(value));
  const Owned list(items ? PySequence_Fast(items.get(), "not a sequence") : nullptr);
  if (!list) return false;
  const Py_ssize_t size = PySequence_Fast_GET_SIZE(list.get());
  out->resize(static_cast<std::size_t>(size));
  for (Py_ssize_t i = 0; i < size; ++i) {
    PyObject* const item = PySequence_Fast_GET_ITEM(list.get(), i);
    if (!FromPython(item, &(*out)[static_cast<std::size_t>(i)])) return false;
  }
  return true;
}

template <typename T>
bool FromPython(PyObject* value, std::optional<T>* out) {
  if (value == Py_None) return out->reset(), true;
  return FromPython(value, &out->emplace());
}

inline constexpr const char* kGrammarCapsule = "edgereason.Grammar";

// A compiled grammar; each phase gets a state of its own.
inline bool FromPython(PyObject* value, std::shared_ptr<Grammar>* out) {
  if (value == Py_None) return out->reset(), true;
  const Owned capsule(PyObject_GetAttrString(value, "capsule"));
  const void* const grammar =
      capsule ? PyCapsule_GetPointer(capsule.get(), kGrammarCapsule) : nullptr;
  if (grammar == nullptr) return false;
  try {
    *out = static_cast<const Grammar*>(grammar)->Clone();
    return true;
  } catch (...) {
    translate_error();
    return false;
  }
}

template <typename T>
bool FieldFromPython(std::string_view name, PyObject* value, T* out);

// A record inside a record; None leaves it as it is.
template <typename Record>
  requires(std::tuple_size_v<std::remove_const_t<decltype(kFields<Record>)>> > 0)
bool FromPython(PyObject* value, Record* out) {
  if (value == Py_None) return true;
  bool ok = true;
  VisitFields(*out, [&](std::string_view name, auto& member) {
    if (!ok) return;
    const Owned attribute(PyObject_GetAttrString(value, std::string(name).c_str()));
    ok = attribute && FieldFromPython(name, attribute.get(), &member);
  });
  return ok;
}

// A number that does not fit becomes a UsageError that names its field.
template <typename T>
bool FieldFromPython(std::string_view name, PyObject* value, T* out) {
  if (FromPython(value, out)) return true;
  if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return false;
  PyErr_Clear();
  const Owned shown(PyObject_Repr(value));
  const char* const text = shown ? PyUnicode_AsUTF8(shown.get()) : nullptr;
  if (text == nullptr) return false;
  const std::string message = std::string(name) + " does not fit, got " + text;
  RaisePython("UsageError", message.c_str(), "the most that fits is 2147483647");
  return false;
}

// For Cython: 0, or -1 with an exception set.
template <typename Record>
int Fill(PyObject* from, Record* to) {
  return FromPython(from, to) ? 0 : -1;
}

inline int FillNamed(const char* name, PyObject* from, std::int32_t* to) {
  return FieldFromPython(name, from, to) ? 0 : -1;
}

// ---- to Python; null: an exception is set

inline PyObject* ToPython(std::int32_t value) { return PyLong_FromLong(value); }
inline PyObject* ToPython(double value) { return PyFloat_FromDouble(value); }
inline PyObject* ToPython(const std::string& value) {
  return PyBytes_FromStringAndSize(value.data(), static_cast<Py_ssize_t>(value.size()));
}
inline PyObject* ToPython(std::string_view value) {
  return PyUnicode_FromStringAndSize(value.data(), static_cast<Py_ssize_t>(value.size()));
}
inline PyObject* ToPython(StopReason value) {
  return ToPython(kStopReasonNames[static_cast<std::size_t>(value)]);
}
inline PyObject* ToPython(Fault value) {
  return ToPython(kFaultNames[static_cast<std::size_t>(value)]);
}
inline PyObject* ToPython(Channel value) {
  return ToPython(kChannelNames[static_cast<std::size_t>(value)]);
}
inline PyObject* ToPython(const std::optional<std::string>& value) {
  return value ? ToPython(*value) : Py_NewRef(Py_None);
}

template <typename Items>
PyObject* TupleOf(const Items& items) {
  Owned tuple(PyTuple_New(static_cast<Py_ssize_t>(std::size(items))));
  if (!tuple) return nullptr;
  Py_ssize_t i = 0;
  for (const auto& item : items) {
    PyObject* const made = ToPython(item);
    if (made == nullptr) return nullptr;
    PyTuple_SET_ITEM(tuple.get(), i++, made);
  }
  return tuple.release();
}
inline PyObject* ToPython(const std::vector<Token>& value) { return TupleOf(value); }
inline PyObject* ToPython(const std::vector<double>& value) { return TupleOf(value); }

inline PyObject* ToPython(const TokenScore& value) {
  return Py_BuildValue("(if)", value.token, static_cast<double>(value.logprob));
}
inline PyObject* ToPython(const std::vector<TokenScore>& value) { return TupleOf(value); }

// The record as a dict, for keyword arguments.
template <typename Record>
PyObject* DictOf(const Record& record) {
  Owned dict(PyDict_New());
  bool ok = static_cast<bool>(dict);
  VisitFields(record, [&](std::string_view name, const auto& member) {
    const Owned value(ok ? ToPython(member) : nullptr);
    ok = value && PyDict_SetItemString(dict.get(), std::string(name).c_str(), value.get()) == 0;
  });
  return ok ? dict.release() : nullptr;
}

// The names of its fields, in order.
template <typename Record>
PyObject* NamesOf() {
  std::vector<std::string_view> names;
  VisitFields(*std::make_unique<Record>(),
              [&](std::string_view name, const auto&) { names.push_back(name); });
  return TupleOf(names);
}

}  // namespace edgereason
