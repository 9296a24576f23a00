"""The few calls of the CUDA driver that an engine needs: memory, copies, one stream.

By ctypes on libcuda, which every driver brings along. Knows no engine.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

from edgereason.engines.graph.device_executor import Place
from edgereason.errors import EngineError, MemoryLimitError

_OUT_OF_MEMORY: Final = 2
_HOST, _DEVICE = 1, 2


class _Copy2D(ctypes.Structure):
    """CUDA_MEMCPY2D of cuda.h."""

    _fields_ = (
        ("src_x", ctypes.c_size_t),
        ("src_y", ctypes.c_size_t),
        ("src_type", ctypes.c_uint),
        ("src_host", ctypes.c_void_p),
        ("src_device", ctypes.c_uint64),
        ("src_array", ctypes.c_void_p),
        ("src_pitch", ctypes.c_size_t),
        ("dst_x", ctypes.c_size_t),
        ("dst_y", ctypes.c_size_t),
        ("dst_type", ctypes.c_uint),
        ("dst_host", ctypes.c_void_p),
        ("dst_device", ctypes.c_uint64),
        ("dst_array", ctypes.c_void_p),
        ("dst_pitch", ctypes.c_size_t),
        ("width", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
    )


class CudaDevice:
    """The first GPU, in the context that TensorRT uses as well. `stream` is a CUstream."""

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self._call("cuInit", 0)
        device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        self.enter()
        stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(stream), 0)
        self.stream = int(stream.value or 0)

    def enter(self) -> None:
        """Before other calls on a thread that may be new."""
        self._call("cuCtxSetCurrent", self._context)

    def free_bytes(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def allocate(self, num_bytes: int) -> int:
        """Zeros: what nobody has written yet must at least be finite."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(num_bytes))
        self._call("cuMemsetD8_v2", address, ctypes.c_ubyte(0), ctypes.c_size_t(num_bytes))
        return address.value

    def release(self, address: int) -> None:
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def copy(self, to: Place, of: Place, width: int, height: int = 1) -> None:
        """`height` rows of `width` bytes, on the stream."""
        order = _Copy2D(width=width, height=height)
        for side, place in (("src", of), ("dst", to)):
            setattr(order, f"{side}_type", _HOST if place.on_host else _DEVICE)
            setattr(order, f"{side}_{'host' if place.on_host else 'device'}", place.address)
            setattr(order, f"{side}_pitch", place.pitch or width)
        self._call("cuMemcpy2DAsync_v2", ctypes.byref(order), ctypes.c_void_p(self.stream))

    def synchronize(self) -> None:
        self._call("cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._cuda, name)(*arguments)
        if code == 0:
            return
        text = ctypes.c_char_p()
        self._cuda.cuGetErrorString(code, ctypes.byref(text))
        said = (text.value or b"unknown error").decode("ascii", "replace")
        if code == _OUT_OF_MEMORY:
            raise MemoryLimitError(
                f"the GPU has not enough memory: {name} says {said}",
                "take a smaller --context or fewer sequences",
            )
        raise EngineError(f"the GPU failed: {name} says {said} ({code})")
