"""The bench of servers: a small run of ours, and figures that are what they say."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from edgereason.bench.rivals.servers import llama_server, ours, started
from edgereason.bench.suites.serve import _COLUMNS, findings, measure
from edgereason.errors import EngineError, UnsupportedError


def test_a_small_run_of_ours() -> None:
    options = argparse.Namespace(
        model="nano",
        context=512,
        seed=1,
        threads=1,
        turns=1,
        clients=2,
        decode=8,
        prompt=18,
        busy=1,
        llama_server=None,
    )
    found = measure(options, lambda text: None)
    (figures,) = found.figures["runs"]["edgereason"]
    assert set(found.figures["runs"]) == {"edgereason", "edgereason, automatic threads"}
    assert set(figures) == {*_COLUMNS, "winner", "sure_winner"}
    assert all(figures[name] > 0 for name in _COLUMNS)


def test_ratios_are_of_the_same_turn() -> None:
    slow = {**dict.fromkeys(_COLUMNS, 10.0), "winner": 42.0, "sure_winner": 42.0}
    runs = {"edgereason": [slow, {**slow, "alone": 30.0}], "llama-server": [slow, slow]}
    (table,) = findings(runs).tables
    ratio = dict(zip(table.columns, table.rows[-1], strict=True))
    assert ratio[""] == "edgereason to llama-server"
    assert ratio["tok/s alone"] == 2.0
    assert ratio["RSS, MiB"] == 1.0


def test_a_server_that_is_not_there_or_ends_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="there is no"):
        llama_server(tmp_path / "none", tmp_path, 1, 512, 1)
    program = ours("no-such-model", 1, 512, 1)
    with pytest.raises(EngineError, match="ended while it started"), started(program):
        pass
