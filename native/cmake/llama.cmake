# The target `llama`: headers and library of llama.cpp as it was installed under
# EDGEREASON_LLAMA_PREFIX, else those that the llama-cpp-python package brings.
if(EDGEREASON_LLAMA_PREFIX)
  set(llama_root "${EDGEREASON_LLAMA_PREFIX}")
  set(EDGEREASON_LLAMA_LIB "${EDGEREASON_LLAMA_PREFIX}/lib")
else()
  if(NOT EDGEREASON_LLAMA_DIR)
    execute_process(
      COMMAND ${Python_EXECUTABLE} -c
              "import importlib.util as u; print(u.find_spec('llama_cpp').submodule_search_locations[0])"
      OUTPUT_VARIABLE EDGEREASON_LLAMA_DIR OUTPUT_STRIP_TRAILING_WHITESPACE
      RESULT_VARIABLE failed ERROR_QUIET)
    if(failed)
      message(FATAL_ERROR "${Python_EXECUTABLE} has no llama_cpp package: install llama-cpp-python, "
                          "name an installed llama.cpp with -DEDGEREASON_LLAMA_PREFIX=..., "
                          "or build without the engine: -DEDGEREASON_LLAMA=OFF")
    endif()
  endif()
  get_filename_component(llama_root "${EDGEREASON_LLAMA_DIR}" DIRECTORY)
  set(EDGEREASON_LLAMA_LIB "${EDGEREASON_LLAMA_DIR}/lib")
endif()

# Sets PACKAGE_VERSION to what llama_version() will say.
include("${llama_root}/lib/cmake/llama/llama-config-version.cmake")
set(LLAMA_VERSION "${PACKAGE_VERSION}")

add_library(llama SHARED IMPORTED)
find_library(LLAMA_LIBRARY llama PATHS "${EDGEREASON_LLAMA_LIB}" NO_DEFAULT_PATH NO_CACHE REQUIRED)
find_library(GGML_LIBRARY ggml PATHS "${EDGEREASON_LLAMA_LIB}" NO_DEFAULT_PATH NO_CACHE REQUIRED)
find_library(GGML_BASE_LIBRARY ggml-base PATHS "${EDGEREASON_LLAMA_LIB}" NO_DEFAULT_PATH NO_CACHE REQUIRED)
set_target_properties(llama PROPERTIES IMPORTED_LOCATION "${LLAMA_LIBRARY}"
                      INTERFACE_LINK_LIBRARIES "${GGML_LIBRARY};${GGML_BASE_LIBRARY}")
target_include_directories(llama SYSTEM INTERFACE "${llama_root}/include")
message(STATUS "libllama ${LLAMA_VERSION}: ${LLAMA_LIBRARY}")
