"""What the engines refuse before or while they open, and that they say why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgereason import Reasoner, engines
from edgereason.errors import (
    BundleError,
    EdgereasonError,
    MemoryLimitError,
    ModelNotFoundError,
    UnsupportedError,
    UsageError,
)
from edgereason.models.bundle import open_bundle
from edgereason.planning import device
from edgereason.registry import load
from support.engine_cases import open_case
from support.tiny_models import write_model

llamacpp = load(engines, "llamacpp")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.gguf", "dense")


def refusal(model: Path, **options: Any) -> EdgereasonError:
    with pytest.raises(EdgereasonError) as caught:
        llamacpp.open(open_bundle(model), llamacpp.Config(**options))
    return caught.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": -1}, "context must be 0 or more, got -1"),
        ({"context": 2**40}, "context must be in [0, 2147483647], got 1099511627776"),
        ({"sequences": 0}, "sequences must be in [1, 64], got 0"),
        ({"sequences": 65}, "sequences must be in [1, 64], got 65"),
        ({"batch": 0}, "batch must be 1 or more, got 0"),
        ({"gpu_layers": -2}, "gpu_layers must be -1 or more, got -2"),
        ({"memory_gib": -1.0}, "memory_gib must be 0 or more, got -1.0"),
        ({"memory_gib": float("nan")}, "memory_gib must be 0 or more, got nan"),
        ({"kv": "q4"}, "KV type must be f16 or q8_0, got q4"),
    ],
)
def test_values_that_cannot_be(model: Path, options: dict[str, Any], message: str) -> None:
    error = refusal(model, **options)
    assert type(error) is UsageError
    assert message in error.message


def test_threads_are_for_the_cores_that_this_process_may_use(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "num_cores", lambda: 3)  # of a container with a quota, say
    with Reasoner.open(str(model), threads=3) as reasoner:
        assert reasoner.engine.info["max_threads"] == 3
    with pytest.raises(UsageError) as caught:
        Reasoner.open(str(model), threads=4)
    assert caught.value.message == (
        "threads must be 0 (follow the load) to 3, the cores this process may use, got 4"
    )


def test_more_memory_than_there_is(model: Path) -> None:
    error = refusal(model, context=2_000_000_000)
    assert isinstance(error, MemoryLimitError)
    assert "GiB is free" in error.message
    assert "try --context" in error.hint
    assert isinstance(refusal(model, memory_gib=0.001), MemoryLimitError)


def test_a_kv_type_that_the_model_cannot_have(model: Path) -> None:
    error = refusal(model, kv="q8_0")  # its heads are narrower than a block
    assert isinstance(error, UnsupportedError)
    assert "block size" in error.message


def test_a_file_that_went_away(model: Path) -> None:
    bundle = open_bundle(model)
    model.unlink()
    with pytest.raises(ModelNotFoundError, match=r"tiny\.gguf"):
        llamacpp.open(bundle, llamacpp.Config())


@pytest.mark.parametrize("kept", [0.3, 0.999])
def test_a_file_that_was_cut(model: Path, kept: float) -> None:
    bundle = open_bundle(model)
    whole = model.read_bytes()
    model.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(BundleError):
        llamacpp.open(bundle, llamacpp.Config())


def test_another_llama_cpp_than_it_was_built_for(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llamacpp, "version", lambda name: "0.0.1")
    error = refusal(model)
    assert "found 0.0.1" in error.message
    assert "install llama-cpp-python==" in error.hint


def test_libllama_is_quiet(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine = llamacpp.open(open_bundle(model), llamacpp.Config(context=256))
    engine.decode([(0, 0, 1, True)])
    refusal(model, kv="q8_0")
    assert capfd.readouterr() == ("", "")


def test_a_script_that_is_none(tmp_path: Path) -> None:
    case = open_case("scripted", tmp_path, None)
    (tmp_path / "script.toml").write_text('[[rules]]\nafter = "x"\nanswer = "y"\n')
    with pytest.raises(BundleError, match="answer"):
        case.open()
