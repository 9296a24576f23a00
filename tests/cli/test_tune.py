"""`edgereason tune`: the race, what is kept of it, and who uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from edgereason.cli._tuning import Setup, busy_cores, race, setups_of
from edgereason.errors import EngineError
from edgereason.models.bundle import open_bundle
from edgereason.models.hub import EMBEDDED
from edgereason.planning import here
from edgereason.planning.here import Choice
from edgereason.runtime import measure
from support.cli_runner import Cli

NANO = EMBEDDED / "nano"


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is made for a test is not made in the user's cache."""
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))


def say(text: str) -> None:
    pass


def test_setups_begin_with_the_default() -> None:
    files = [("q4_1", Path("m"), "llamacpp", 0.0), ("onnx-int4", Path("o"), "onnxruntime", 0.1)]
    setups = setups_of(files, 2, more=True)
    assert (setups[0].name, setups[0].options) == ("q4_1", {})
    names = [setup.name for setup in setups]
    assert len(names) == len(set(names))
    assert {"q4_1 threads=1", "q4_1 kv=q8_0", "onnx-int4 threads=2 spin=True"} <= set(names)
    assert len(setups_of(files, 2, more=False)) < len(setups)


def test_the_fastest_is_kept_after_fresh_turns() -> None:
    rates = {"a": 100.0, "b": 150.0, "c": 120.0}
    setups = [Setup(name, Path(name), name) for name in rates]
    found = race(setups, 0, 30, say, lambda setup: rates[setup.name])
    assert found.winner.name == "b"
    assert found.speed.value == pytest.approx(1.5)
    assert found.speed.num_turns == 5


def test_where_nothing_is_surely_faster_the_default_is_kept() -> None:
    seen: dict[str, int] = {}

    def rate(setup: Setup) -> float:
        turn = seen[setup.name] = seen.get(setup.name, 0) + 1
        lucky = setup.name == "b" and turn <= 3
        return 130.0 if lucky else 100.0 + (turn % 3)  # what was luck does not last

    found = race([Setup(name, Path(name), name) for name in "ab"], 0, 0.01, say, rate)
    assert found.winner.name == "a"
    assert found.speed.value == 1.0


def test_one_that_does_not_open_is_out() -> None:
    def rate(setup: Setup) -> float:
        if setup.name == "broken":
            raise EngineError("it does not open")
        return 100.0

    told: list[str] = []
    found = race(
        [Setup("a", Path("a"), "a"), Setup("broken", Path("b"), "b")], 0, 5, told.append, rate
    )
    assert found.winner.name == "a"
    assert "broken is out: it does not open" in told


def test_busy_cores_end_with_the_race() -> None:
    before = {child.pid for child in psutil.Process().children()}
    with busy_cores(1):
        ours = {child.pid for child in psutil.Process().children()} - before
        assert len(ours) == 1
    assert not ours & {child.pid for child in psutil.Process().children()}


def test_tuned_models_are_opened_so_and_it_is_said(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {"q8_0": 150.0}

    def rate(path: Path, options: Any, **more: Any) -> float:
        return rates.get(path.name.removeprefix("nano-"), 100.0) + 10 * (options == {"threads": 1})

    monkeypatch.setattr(measure, "decode_rate", rate)
    pytest.importorskip("gguf", reason="formats are made with edgereason[export]")
    ran = cli("tune", "nano", "--formats", "q8_0", "--time-limit", "0.02", "--json")
    assert ran.code == 0, ran.err
    (choice,) = ran.json["choices"]
    assert choice["format"] == "q8_0"
    assert choice["options"] == {"threads": 1}
    assert choice["speed"] == pytest.approx(1.6)
    assert 0 < choice["kl"] == ran.json["kl"]["q8_0"] <= 0.05
    told = cli("run", "-m", "nano", "What is 2+3?")
    assert told.code == 0
    assert "tuned: q8_0, threads 1: 1.60" in told.err
    assert cli("run", "-m", "nano", "What is 2+3?", "--json").json["model"] == "nano-q8_0"
    typed = cli("run", "-m", "nano", "What is 2+3?", "--threads", "1")
    assert "tuned" not in typed.err
    reset = cli("tune", "nano", "--reset")
    assert "1 choices forgotten" in reset.out
    assert "tuned" not in cli("run", "-m", "nano", "What is 2+3?").err
    assert not Path(choice["model"]).exists()


def test_what_is_too_far_from_the_model_does_not_race(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf", reason="formats are made with edgereason[export]")
    raced: list[str] = []
    monkeypatch.setattr(
        measure, "decode_rate", lambda path, options: raced.append(Path(path).name) or 100.0
    )
    args = ("tune", "nano", "--formats", "q4_0", "--most-kl", "0", "--time-limit", "0.001")
    ran = cli(*args)
    assert ran.code == 0
    assert "q4_0 is out: its KL from the model is" in ran.err
    assert set(raced) == {"nano"}


def test_a_file_that_is_gone_is_said(cli: Cli) -> None:
    bundle = open_bundle(NANO)
    here.save_tuned(bundle, (Choice(0, "/no/such/file", "q8_0", {}, 1.5, 1.4, 1.6, 0.01, 0.05),))
    ran = cli("run", "-m", "nano", "What is 2+3?")
    assert ran.code == 0
    assert "tuned for q8_0, which is gone" in ran.err


def test_each_load_has_its_choice(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = open_bundle(NANO)
    choices = tuple(
        Choice(busy, str(NANO), "F16", {"threads": threads}, 1.2, 1.1, 1.3)
        for busy, threads in ((0, 2), (2, 1))
    )
    here.save_tuned(bundle, choices)
    for busy, threads in ((0.1, 2), (1.9, 1)):
        percent = 100 * busy / (psutil.cpu_count() or 1)
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval, p=percent: p)
        assert f"threads {threads}: 1.20" in cli("run", "-m", "nano", "What is 2+3?").err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--busy", "one"), "--busy must be numbers of cores"),
        (("--formats", "q4"), "no format called 'q4'"),
        (("--time-limit", "0"), "--time-limit must be above 0"),
        (("--most-kl", "-1"), "--most-kl 0 or more"),
    ],
)
def test_mistakes_are_named(cli: Cli, args: tuple[str, ...], says: str) -> None:
    ran = cli("tune", "nano", *args)
    assert ran.code == 2
    assert says in ran.err
