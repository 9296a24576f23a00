"""The calls of the CUDA driver, on a driver of our own that checks what it is given."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import threading

import numpy as np
import pytest

from edgereason.engines.graph import cuda
from edgereason.engines.graph.cuda import CudaDevice
from edgereason.engines.graph.device_executor import Place
from edgereason.errors import EngineError, MemoryLimitError
from support.places import ROOT


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("needs a C compiler as `cc`")
    library = tmp_path_factory.mktemp("cuda") / "libcuda.so.1"
    source = ROOT / "tests" / "support" / "fake_cuda.c"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), str(source)],
        check=True,
    )
    return ctypes.CDLL(str(library))


@pytest.fixture
def device(driver: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> CudaDevice:
    monkeypatch.setattr(cuda.ctypes, "CDLL", lambda _: driver)
    return CudaDevice()


def _host(array: np.ndarray, pitch: int = 0) -> Place:
    return Place(array.ctypes.data, pitch, on_host=True)


def test_memory_begins_with_zeros_and_keeps_what_is_copied(device: CudaDevice) -> None:
    address = device.allocate(24)
    found = np.full(24, 9, np.uint8)
    device.copy(_host(found), Place(address), 24)
    assert not found.any()
    device.copy(Place(address), _host(np.arange(24, dtype=np.uint8)), 24)
    device.copy(_host(found), Place(address), 24)
    device.synchronize()
    assert found.tolist() == list(range(24))
    device.release(address)


def test_rows_are_copied_between_pitches_on_the_device(device: CudaDevice) -> None:
    wide, narrow = device.allocate(40), device.allocate(12)
    device.copy(Place(wide), _host(np.arange(40, dtype=np.uint8)), 40)
    device.copy(Place(narrow, 4), Place(wide + 2, 10), 4, 3)  # columns 2 to 5 of three rows
    found = np.zeros((3, 6), np.uint8)
    device.copy(_host(found, 6), Place(narrow, 4), 4, 3)
    assert found.tolist() == [[2, 3, 4, 5, 0, 0], [12, 13, 14, 15, 0, 0], [22, 23, 24, 25, 0, 0]]


def test_another_thread_must_enter_first(device: CudaDevice) -> None:
    said: list[str] = []

    def work() -> None:
        try:
            device.allocate(8)
        except EngineError as error:
            said.append(str(error))
        device.enter()
        said.append("entered" if device.allocate(8) else "")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == ["the GPU failed: cuMemAlloc_v2 says no context (201)", "entered"]


def test_errors_name_the_call(device: CudaDevice) -> None:
    assert device.free_bytes() == 3 << 30
    with pytest.raises(MemoryLimitError, match="cuMemAlloc_v2 says out of memory"):
        device.allocate(1 << 40)
    with pytest.raises(EngineError, match="cuMemFree_v2 says invalid"):
        device.release(64)
