"""What a sweep keeps beside its trials, and whom it drops."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgereason.bench.harness.runner import machine
from edgereason.bench.harness.trials import Store, Trial
from edgereason.bench.pareto import job
from edgereason.bench.pareto.plan import Plan, Setting, plan
from edgereason.bench.tasks.base import Item
from edgereason.errors import UsageError

NUM = 40
TASKS = {task: [Item(f"q{i}", "?", "1", "number") for i in range(NUM)] for task in ("a", "b")}


def jobs(out: Path, **changed: object) -> job.Job:
    made = job.Job(out, ("m",), ("think",), ("a",), drop="frontier", device="here")
    return replace(made, **changed)  # type: ignore[arg-type]  # any field


def swept(folder: Path, planned: Plan, rights: dict[str, tuple[str, ...]]) -> None:
    """Trials of all questions: the first setting takes 10 ms, the second 20, ...; `rights`: the
    tasks on which a way is right."""
    with Store.open(folder, "here") as store:
        for place, setting in enumerate(planned.settings, 1):
            for task, items in TASKS.items():
                for item in items:
                    store.append(Trial(
                        suite="pareto", device="here", config=setting.config, model="m", quant="",
                        engine="", way=setting.way, answer_limit=1, temperature=0, threads=0,
                        context=1, think_limit=-1, task=task, question=item.id, seed=0, answer="1",
                        right=task in rights[setting.way], finish="stop", total_ms=10.0 * place,
                    ))  # fmt: skip


def dropped_after(folder: Path, rights: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """Way -> after how many turns it is first dropped."""
    folder.mkdir()
    planned = plan([Setting("m", "")], list(rights))
    swept(folder, planned, rights)
    asked = jobs(folder)
    kept = job._Kept(asked, {})
    drop = job._drop(asked, planned, TASKS, kept)
    ways = {setting.config: setting.way for setting in planned.settings}
    found: dict[str, int] = {}
    for turn in range(1, NUM + 1):
        for config in drop(turn):
            found.setdefault(ways[config], turn)
    kept.close()
    told = json.loads((folder / "sweep-here.json").read_text())["dropped"]
    assert {ways[config] for config in told} == found.keys()
    return found


def test_who_is_beaten_in_every_task_is_dropped_after_two_looks(tmp_path: Path) -> None:
    both, first, none = ("a", "b"), ("a",), ()
    found = dropped_after(tmp_path / "x", {"bare": both, "think": none, "no-think": none})
    assert found == {"think": 8, "no-think": 8}  # looks are after 5 and 8 of 40
    assert dropped_after(tmp_path / "y", {"bare": first, "think": both}) == {}
    assert dropped_after(tmp_path / "z", {"bare": none, "think": both}) == {}  # the cheaper stays


def test_times_of_all_runs_add_up(tmp_path: Path) -> None:
    for run in (1, 2):
        kept = job._Kept(jobs(tmp_path), machine())
        kept.data["seconds"] = 0
        kept.close()
        told = json.loads((tmp_path / "sweep-here.json").read_text())
        assert told["runs"] == run
        assert told["options"]["models"] == ["m"]
        assert told["machine"]["num_cores"] > 0
        assert told["seconds"] > 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ways": ()}, "--ways must name something"),
        ({"threads": -1}, "threads must be 0 or more, got -1"),
        ({"drop": "some"}, "no rule of dropping called 'some'"),
        ({"hosts": ("a",)}, "--device names this machine, --hosts others"),
        ({"hosts": ("a", "b", "a"), "device": ""}, "--hosts names a device twice: a,b,a"),
        ({"deadlines_ms": (-1.0,)}, "a deadline must be more than 0"),
    ],
)
def test_wrong_jobs_are_refused(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        jobs(tmp_path, **changed)
