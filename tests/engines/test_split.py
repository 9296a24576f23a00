"""A model over several files is the model in one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgereason import engines
from edgereason.models.bundle import open_bundle
from edgereason.registry import load
from support.engine_cases import feed
from support.tiny_models import write_model

TOKENS = [104, 101, 32, 115, 97, 105, 100]
module = load(engines, "llamacpp")


def test_a_split_model(tmp_path: Path) -> None:
    whole = open_bundle(write_model(tmp_path / "tiny.gguf", "dense"))
    parts = open_bundle(write_model(tmp_path / "tiny.gguf", "dense", parts=4))
    assert len(parts.files) == 4
    assert parts.num_parameters == whole.num_parameters
    engines_of = [module.open(each, module.Config(context=256)) for each in (whole, parts)]
    one, two = (feed(engine, 0, TOKENS) for engine in engines_of)
    assert np.array_equal(one, two)
