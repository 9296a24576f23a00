"""Which GPU llama.cpp was built for, told by its libraries, and the command that builds it for the
one that is here. Loads none of them.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from typing import Final

from edgereason.planning.device import Machine
from edgereason.planning.profile import load_profile, profile_names

_LIBRARIES: Final = ("cuda", "metal", "vulkan", "hip", "sycl")
_PACKAGE: Final = "llama-cpp-python"


def library() -> str:
    """`cuda`, ...; "" for none."""
    try:
        found = files(_PACKAGE) or ()
    except PackageNotFoundError:
        return ""
    names = [path.name for path in found if path.parent.name == "lib"]
    built = (gpu for gpu in _LIBRARIES if any(f"ggml-{gpu}" in name for name in names))
    return next(built, "")


def build_command(machine: Machine, version: str) -> str:
    """For an NVIDIA GPU; `version` is that of llama-cpp-python."""
    arguments = f"-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES={architecture(machine)}"
    few = "CMAKE_BUILD_PARALLEL_LEVEL=2 " if machine.memory_gib < 12 else ""  # of compilers
    options = f"--force-reinstall --no-deps --no-cache-dir --no-binary {_PACKAGE}"
    return f'{few}CMAKE_ARGS="{arguments}" pip install {options} {_PACKAGE}=={version}'


def architecture(machine: Machine) -> str:
    """As CMake takes it: the board's, else `native`, which asks the GPU that is there."""
    if machine.board:
        for name in profile_names():
            profile = load_profile(name)
            if profile.board and profile.board in machine.board and profile.cuda_architecture:
                return profile.cuda_architecture
    return "native"


__all__ = ["architecture", "build_command", "library"]
