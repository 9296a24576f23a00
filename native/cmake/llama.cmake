# The target `llama`: headers and library that the llama-cpp-python package installed.
if(NOT EDGEREASON_LLAMA_DIR)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c
            "import importlib.util as u; print(u.find_spec('llama_cpp').submodule_search_locations[0])"
    OUTPUT_VARIABLE EDGEREASON_LLAMA_DIR OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE failed ERROR_QUIET)
  if(failed)
    message(FATAL_ERROR "${Python_EXECUTABLE} has no llama_cpp package: install llama-cpp-python, "
                        "or build without the engine: -DEDGEREASON_LLAMA=OFF")
  endif()
endif()
get_filename_component(llama_site "${EDGEREASON_LLAMA_DIR}" DIRECTORY)

# Sets PACKAGE_VERSION to what llama_version() will say.
include("${llama_site}/lib/cmake/llama/llama-config-version.cmake")
set(LLAMA_VERSION "${PACKAGE_VERSION}")

add_library(llama SHARED IMPORTED)
find_library(LLAMA_LIBRARY llama PATHS "${EDGEREASON_LLAMA_DIR}/lib" NO_DEFAULT_PATH NO_CACHE REQUIRED)
find_library(GGML_LIBRARY ggml-base PATHS "${EDGEREASON_LLAMA_DIR}/lib" NO_DEFAULT_PATH NO_CACHE REQUIRED)
set_target_properties(llama PROPERTIES IMPORTED_LOCATION "${LLAMA_LIBRARY}"
                      INTERFACE_LINK_LIBRARIES "${GGML_LIBRARY}")
target_include_directories(llama SYSTEM INTERFACE "${llama_site}/include")
message(STATUS "libllama ${LLAMA_VERSION}: ${LLAMA_LIBRARY}")
