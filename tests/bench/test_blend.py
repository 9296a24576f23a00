"""What blends cost."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgereason.bench.suites import blend
from support.tiny_models import write_model


def test_both_are_measured_in_turns(tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny.gguf", "dense")
    options = argparse.Namespace(model=model, context=1024, threads=1, tokens=12, turns=2, batch=3)
    found = blend.measure(options, lambda text: None)
    assert set(found.figures) == {"1", "3"}
    for row in found.figures.values():
        assert row["token ms"] > 0
        assert row["least"] <= row["blend to token"] <= row["most"]
        assert 0 < row["blended"] <= 1
