"""Which TensorRT this machine has: `tensorrt`, which needs a GPU also to build, or `tensorrt_rtx`,
which builds ahead of time without one.

The driver is asked before a library is imported, because they may crash where there is none. Knows
no graph and no engine: those who build and those who run ask here.
"""

from __future__ import annotations

import ctypes
import importlib
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

from edgereason.errors import EngineError, UnsupportedError

FULL: Final = "tensorrt"
RTX: Final = "tensorrt_rtx"
INSTALL: Final = "pip install tensorrt-rtx-cu13; on a Jetson, tensorrt comes with JetPack"


def num_gpus() -> int:
    """CUDA devices that the driver offers; 0 where there is no driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    found = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(found)):
        return 0
    return found.value


def find_builder() -> str:
    """What builds engines here: `tensorrt` where it has its GPU, else `tensorrt_rtx`; "" nothing
    does."""
    if find_spec(FULL) and num_gpus():
        return FULL
    return RTX if find_spec(RTX) else ""


def require_gpu(wanted: str) -> None:
    """`wanted`: what cannot be done without one, as the subject of a sentence."""
    if not num_gpus():
        raise UnsupportedError(
            f"{wanted} needs an NVIDIA GPU and its driver, and this machine has none",
            "run it on the device that it was exported for; here the engines llamacpp and "
            "onnxruntime run",
        )


def import_trt(name: str) -> ModuleType:
    """Imports `tensorrt` or `tensorrt_rtx`."""
    if not find_spec(name):
        raise UnsupportedError(f"{name} is not installed", INSTALL)
    if name == FULL:
        require_gpu(name)
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(f"{name} is installed but does not load: {error}", INSTALL) from None


def make_logger(trt: ModuleType, errors: list[str]) -> Any:
    """A logger that keeps what went wrong: TensorRT returns None and says why only there."""

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]  # known when it is installed
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR and message not in errors:
                errors.append(message)

    return Logger()
