// Any C++ exception as a Python one: ours by name from edgereason/errors.py, all others as
// EngineError.
#pragma once

#include <Python.h>

#include <cstring>
#include <exception>
#include <new>

#include "edgereason/error.h"

namespace edgereason {

inline const char* PythonClass(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kUsage:
      return "UsageError";
    case ErrorCode::kUnsupported:
      return "UnsupportedError";
    case ErrorCode::kContextFull:
      return "ContextFullError";
    case ErrorCode::kModelNotFound:
      return "ModelNotFoundError";
    case ErrorCode::kBundle:
      return "BundleError";
    case ErrorCode::kMemoryLimit:
      return "MemoryLimitError";
    case ErrorCode::kEngine:
      return "EngineError";
  }
  return "EngineError";
}

// Leaves a Python exception set, whatever happens on the way.
inline void RaisePython(const char* name, const char* message, const char* hint) noexcept {
  PyObject* module = PyImport_ImportModule("edgereason.errors");
  PyObject* type = module ? PyObject_GetAttrString(module, name) : nullptr;
  // Messages may quote bytes that are not text.
  PyObject* text =
      PyUnicode_DecodeUTF8(message, static_cast<Py_ssize_t>(std::strlen(message)), "replace");
  PyObject* error = type && text ? PyObject_CallFunction(type, "Os", text, hint) : nullptr;
  if (error) PyErr_SetObject(type, error);
  Py_XDECREF(error);
  Py_XDECREF(text);
  Py_XDECREF(type);
  Py_XDECREF(module);
}

// Cython calls this inside its catch block, with the GIL held.
inline void translate_error() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    RaisePython(PythonClass(error.code()), error.what(), error.hint().c_str());
  } catch (const std::bad_alloc&) {
    RaisePython("MemoryLimitError", "out of memory", "");
  } catch (const std::exception& error) {
    RaisePython("EngineError", error.what(), "");
  }
}

}  // namespace edgereason
