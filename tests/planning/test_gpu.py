"""What llama.cpp was built for, and how it is built for the GPU that is here."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from edgereason import engines
from edgereason.errors import UnsupportedError
from edgereason.models.bundle import open_bundle
from edgereason.models.hub import EMBEDDED
from edgereason.planning import gpu
from edgereason.planning.device import Machine
from edgereason.registry import load


def machine(board: str = "", memory_gib: float = 32.0) -> Machine:
    return Machine("aarch64", "ARM", 6, memory_gib, memory_gib, "NVIDIA Tegra (integrated)", board)


@pytest.mark.parametrize(
    ("board", "architecture"),
    [
        ("NVIDIA Jetson AGX Orin Developer Kit", "87"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "87"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "87"),
        ("NVIDIA Jetson Xavier NX Developer Kit", "72"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "110"),
        ("NVIDIA Jetson of tomorrow", "native"),
        ("", "native"),
    ],
)
def test_the_command_is_for_this_board(board: str, architecture: str) -> None:
    command = gpu.build_command(machine(board), "0.3.36")
    assert command.startswith('CMAKE_ARGS="-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=')
    assert f'ARCHITECTURES={architecture}"' in command
    assert command.endswith(" llama-cpp-python==0.3.36")


def test_few_compilers_where_memory_is_short() -> None:
    command = gpu.build_command(machine("NVIDIA Jetson Orin Nano", 7.4), "1")
    assert command.startswith("CMAKE_BUILD_PARALLEL_LEVEL=2 CMAKE_ARGS=")


@pytest.mark.parametrize(
    ("libraries", "built"),
    [
        (("libllama.so", "libggml-cpu.so"), ""),
        (("libggml-cuda.so", "libggml-cpu.so"), "cuda"),
        (("libggml-vulkan.so",), "vulkan"),
    ],
)
def test_what_it_was_built_for(
    monkeypatch: pytest.MonkeyPatch, libraries: tuple[str, ...], built: str
) -> None:
    paths = [PurePosixPath("llama_cpp/lib") / name for name in libraries]
    monkeypatch.setattr(gpu, "files", lambda package: paths)
    assert gpu.library() == built


def test_layers_that_were_asked_for_do_not_stay_on_the_cpu_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = load(engines, "llamacpp")
    bundle = open_bundle(EMBEDDED / "nano")
    monkeypatch.setattr(gpu, "library", lambda: "")
    with pytest.raises(
        UnsupportedError, match=r"gpu_layers is 8, and llama\.cpp was built"
    ) as raised:
        engine.open(bundle, engine.Config(gpu_layers=8, context=256))
    assert "DGGML_CUDA=on" in raised.value.hint
    assert "llama-cpp-python==" in raised.value.hint
    for layers in (0, -1):
        engine.open(bundle, engine.Config(gpu_layers=layers, context=256))
