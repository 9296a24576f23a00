"""The child that is measured, results that are kept, speeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgereason.bench.harness import exports
from edgereason.bench.harness.exports import Kept, prompt_and_decode
from edgereason.engines import llamacpp
from edgereason.errors import EngineError
from edgereason.models.bundle import open_bundle
from support.tiny_models import write_model


def test_a_child_is_measured() -> None:
    ran = exports.edgereason("--version")
    assert ran.out.startswith("edgereason ")
    assert ran.seconds > 0
    assert 10 < ran.peak_mib < 200
    ours = bytearray(300 << 20)  # no business of the child
    assert exports.edgereason("--version").peak_mib == pytest.approx(ran.peak_mib, rel=0.5)
    del ours
    with pytest.raises(EngineError, match=r"pull no-such-model failed: error: no model called"):
        exports.edgereason("pull", "no-such-model")


def test_results_are_kept_for_the_same_options(tmp_path: Path) -> None:
    calls = []

    def make() -> int:
        calls.append(1)
        return 7

    kept = Kept(tmp_path / "kept.json", ("model", 3))
    assert kept.once("a", make) == 7
    assert Kept(tmp_path / "kept.json", ("model", 3)).once("a", make) == 7
    assert len(calls) == 1
    assert "a" not in Kept(tmp_path / "kept.json", ("model", 4))
    (tmp_path / "kept.json").write_text('{"of":')
    assert "a" not in Kept(tmp_path / "kept.json", ("model", 3))


def test_speeds_are_of_whole_prompts(tmp_path: Path) -> None:
    bundle = open_bundle(write_model(tmp_path / "tiny.gguf", "dense"))
    engine = llamacpp.open(bundle, llamacpp.Config(context=256, sequences=1, batch=16))
    for num in (16, 37):  # whole steps, and a part of one
        prompt, decode = prompt_and_decode(engine, [7] * num, 5)
        assert prompt > 0
        assert decode > 0
    engine.decode([(0, 0, 1, True)])  # it was left empty
