"""The driver of many devices, on a stand-in for Ray whose actors fail as scripted.

A real cluster is in `test_pareto_cluster.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgereason.bench.harness import trials
from edgereason.bench.harness.trials import Store
from edgereason.bench.pareto import cluster
from edgereason.bench.pareto.cluster import Actor, Cluster, Device
from edgereason.bench.pareto.plan import Setting, plan
from edgereason.bench.pareto.sweep import Count, Terms, works
from edgereason.bench.tasks.base import Item
from edgereason.errors import UsageError
from support.places import SCRIPTED

ITEMS = [Item(f"q{i}", f"What is {i} * 3?", str(3 * i), "number") for i in range(3)]
WAYS = ("think:5", "think:9", "no-think")


class Unavailable(Exception):
    """Ray does not know yet."""


class Died(Exception):
    """The process is gone."""


class TooLong(Exception):
    """`get` waited for too long."""


class Ray:
    """Nodes by name; `script`: what calls of a device come to, `None` its answer, "gone" that its
    node leaves with it. After the script every call is answered. A node that left is back after
    `away` looks at the nodes."""

    exceptions = SimpleNamespace(
        ActorUnavailableError=Unavailable,
        ActorDiedError=Died,
        GetTimeoutError=TooLong,
        RayError=Died,
    )

    def __init__(self, names: Sequence[str], away: int = 2) -> None:
        self.left = dict.fromkeys(names, 0)  # looks until it is there
        self.away = away
        self.script: dict[str, list[Any]] = {}
        self.started: list[str] = []
        self.in_flight: list[str] = []
        self.options_seen: dict[str, Any] = {}

    def nodes(self) -> list[dict[str, Any]]:
        found = []
        for name, looks in self.left.items():
            found.append({"Alive": looks == 0, "Resources": {"CPU": 1.0, f"device:{name}": 1.0}})
            self.left[name] = max(0, looks - 1)
        return found

    def remote(self, made: type[Actor]) -> Any:
        def options(**given: Any) -> Any:
            self.options_seen = given

            def start(terms: Terms) -> Any:
                self.started.append(terms.device)
                return SimpleNamespace(
                    **{
                        name: SimpleNamespace(
                            remote=lambda *args, name=name: self._call(made, terms, name, args)
                        )
                        for name in ("ask", "about", "lacks")
                    }
                )

            return SimpleNamespace(remote=start)

        return SimpleNamespace(options=options)

    def _call(self, made: type[Actor], terms: Terms, name: str, args: tuple[Any, ...]) -> Any:
        assert terms.device not in self.in_flight, "two trials at once on one device"
        self.in_flight.append(terms.device)
        return (terms.device, lambda: getattr(made(terms), name)(*args))

    def wait(self, calls: Sequence[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return [calls[0]], list(calls[1:])

    def get(self, call: Any, timeout: float = 0) -> Any:
        device, answer = call
        self.in_flight.remove(device)
        script = self.script.get(device, [])
        outcome = script.pop(0) if script else None
        if outcome == "gone":
            self.left[device] = self.away
            raise Died("the node is gone")
        if outcome is not None:
            raise outcome
        return answer()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_WAIT_S", 0.0)


def swept(
    folder: Path, ray: Ray, names: Sequence[str], seconds: float = 1e9
) -> tuple[dict[str, Count], list[str]]:
    made = plan([Setting(SCRIPTED, "", answer_tokens=8, threads=1)], WAYS)
    said: list[str] = []
    devices = []
    for name in names:
        terms, count = Terms(name, check=0, seconds=seconds), Count()
        store = Store.open(folder, name)
        found = works(made, {"t": ITEMS}, store, terms, count=count, say=said.append)
        actor = Cluster(ray).start(terms)
        devices.append(Device(terms, store, count, found, seconds, actor))
    Cluster(ray).sweep(devices, said.append)
    for device in devices:
        device.store.close()
    return {device.name: device.count for device in devices}, said


def places(folder: Path, device: str) -> list[tuple[str, str]]:
    """Of every line of the device's file."""
    lines = trials.lines(folder)
    return [(line["way"], line["question"]) for line in lines if line["device"] == device]


ALL = sorted((way, item.id) for way in WAYS for item in ITEMS)


def test_every_device_gets_all_trials_and_is_pinned_to_its_node(tmp_path: Path) -> None:
    ray = Ray(["a", "b"])
    counts, _ = swept(tmp_path, ray, ["a", "b"])
    for name in ("a", "b"):
        assert sorted(places(tmp_path, name)) == ALL
        assert counts[name].run == 2 * len(ITEMS)  # think:5 is read off
    assert ray.options_seen["resources"] == {"device:b": 1}
    assert ray.options_seen["max_restarts"] == ray.options_seen["max_task_retries"] == 0
    again, _ = swept(tmp_path, Ray(["a", "b"]), ["a", "b"])
    assert again["a"].run == again["b"].run == 0


def test_a_device_that_went_away_is_waited_for_and_loses_nothing(tmp_path: Path) -> None:
    ray = Ray(["a", "b"], away=3)
    ray.script["b"] = [None, Unavailable(), Unavailable(), "gone", None, Unavailable()]
    counts, said = swept(tmp_path, ray, ["a", "b"])
    assert sorted(places(tmp_path, "b")) == sorted(places(tmp_path, "a")) == ALL
    assert ray.started == ["a", "b", "b"]
    assert "b is away: its work waits for it" in said
    assert "b is back" in said
    assert not counts["b"].failed


def test_who_never_comes_back_is_waited_for_until_the_time_is_over(tmp_path: Path) -> None:
    ray = Ray(["a", "b"], away=10**9)
    ray.script["b"] = [None, "gone"]
    times = iter(range(10**6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "time", SimpleNamespace(
            monotonic=lambda: float(next(times)), sleep=lambda seconds: None
        ))  # fmt: skip
        counts, _ = swept(tmp_path, ray, ["a", "b"], seconds=10**4)
    assert counts["b"].out_of_time
    assert not counts["a"].out_of_time
    assert sorted(places(tmp_path, "a")) == ALL
    assert 0 < len(places(tmp_path, "b")) < len(ALL)


def test_a_trial_that_kills_its_process_is_given_up_after_three_times(tmp_path: Path) -> None:
    ray = Ray(["a"])
    ray.script["a"] = [Died("out of memory")] * 3
    counts, _ = swept(tmp_path, ray, ["a"])
    assert list(counts["a"].failed.values()) == ["its process died 3 times"]
    assert sorted(places(tmp_path, "a")) == [place for place in ALL if place not in (
        ("think:5", "q0"), ("think:9", "q0"),
    )]  # fmt: skip
    assert ray.started == ["a"] * 4


def test_a_device_that_nobody_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no device of this cluster is called c; there are: a, b"):
        Cluster(Ray(["a", "b"])).check(["a", "c"])
    with pytest.raises(UsageError, match="there are: none"):
        Cluster(Ray([])).check(["a"])


def test_a_device_without_the_model_cannot_take_part() -> None:
    ray = Ray(["a"])
    joined, terms = Cluster(ray), Terms("a")
    size = str(
        sum(p.stat().st_size for p in Path(SCRIPTED).iterdir() if p.name != "edgereason.json")
    )
    about = joined.about("a", joined.start(terms), {SCRIPTED: size}, print)
    assert about["num_cores"] > 0
    with pytest.raises(UsageError, match=r"device a: its .* has .* bytes, that of this machine 1 "):
        joined.about("a", joined.start(terms), {SCRIPTED: "1"}, print)
    with pytest.raises(UsageError, match=r"device a: .*nowhere"):
        joined.about("a", joined.start(terms), {"nowhere": "1"}, print)
    ray.script["a"] = [TooLong()]
    with pytest.raises(UsageError, match="device a did not begin within 120 s"):
        joined.about("a", joined.start(terms), {}, print)
