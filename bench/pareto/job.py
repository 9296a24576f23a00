"""One sweep from its options to its report: what `edgereason bench pareto` runs.

The folder holds `trials-DEVICE.jsonl`, one line a trial, `sweep-DEVICE.json`, what was asked of
which machine, and the report.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from edgereason import files
from edgereason.config import unknown
from edgereason.errors import UsageError
from edgereason.models.bundle import open_bundle
from edgereason.models.hub import resolve
from edgereason.records import UNLIMITED

from ..harness.frame import read_frame, ready
from ..harness.items import items, label
from ..harness.runner import Say, commit, machine
from ..harness.trials import Store, Trial, read
from ..tasks.base import Item
from . import cluster
from .dropping import RULES, Dropper
from .plan import Plan, Setting, expand, plan
from .points import Findings, points
from .report import write
from .statistics import Draws, interval
from .sweep import Count, Meter, Terms, sweep, works

NONE: Final = "none"
_KEPT: Final = "sweep-{device}.json"

Tasks: TypeAlias = Mapping[str, Sequence[Item]]


@dataclass(frozen=True, slots=True)
class Job:
    """All options of a sweep. `device`: "" is the name of this machine. `hosts`: devices of a Ray
    cluster, each of which gets all of it; none: this machine does."""

    out: Path
    models: tuple[str, ...]
    ways: tuple[str, ...]
    tasks: tuple[str, ...]
    quants: tuple[str, ...] = ()
    num_questions: int = 50
    deadlines_ms: tuple[float, ...] = ()
    time_limit_s: float = 3600.0
    drop: str = NONE
    check: int = 2
    answer_tokens: int = 128
    temperature: float = 0.0
    threads: int = 0
    context: int = 4096
    think_tokens: int = UNLIMITED
    seed: int = 0
    device: str = ""
    data: Path | None = None
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (
            ("num_questions", 0), ("check", 0), ("answer_tokens", 1), ("threads", 0),
            ("context", 1), ("seed", 0), ("think_tokens", UNLIMITED),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be {least} or more, got {getattr(self, name)}")
        for name in ("models", "ways", "tasks"):
            if not getattr(self, name):
                raise UsageError(f"--{name} must name something")
        if self.hosts and self.device:
            raise UsageError("--device names this machine, --hosts others", "give one of them")
        if len(set(self.hosts)) < len(self.hosts):
            raise UsageError(f"--hosts names a device twice: {','.join(self.hosts)}")
        if self.drop not in (NONE, *RULES):
            raise unknown("no rule of dropping called", self.drop, [NONE, *RULES])
        if any(limit <= 0 for limit in self.deadlines_ms):
            raise UsageError("a deadline must be more than 0")

    @property
    def device_name(self) -> str:
        return self.device or platform.node().partition(".")[0] or "device"


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it. `findings` is None where there is no trial yet."""

    out: Path
    findings: Findings | None
    asked: int = 0
    read_off: int = 0
    torn_bytes: int = 0
    out_of_time: bool = False
    failed: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For people."""
        told = [f"{self.asked} asked, {self.read_off} read off; report: {self.out / 'report.html'}"]
        if self.torn_bytes:
            told.insert(0, f"{self.torn_bytes} bytes of a torn line were cut off")
        told += [f"failed: {way}: {why}" for way, why in self.failed.items()]
        if self.out_of_time:
            told.append("the time was over before all was asked: run it again to go on")
        return told

    def to_dict(self) -> dict[str, Any]:
        points = self.findings.points if self.findings else ()
        data = {name: getattr(self, name) for name in ("asked", "read_off", "torn_bytes")}
        data |= {"out_of_time": self.out_of_time, "failed": dict(self.failed)}
        return {"out": str(self.out), **data, "points": [asdict(point) for point in points]}


def run(job: Job, say: Say, meter: Meter | None = None) -> Done:
    """Asks what is missing, and writes the report of all that is there."""
    ready()  # what the report needs, before hours are spent
    tasks = {label(name): items(name, job.num_questions, job.seed, job.data) for name in job.tasks}
    if len(tasks) < len(job.tasks):
        raise UsageError("two tasks have the same name", "rename one of the files")
    models = [_model(name, job) for name in expand(job.models, job.quants)]
    planned = plan(models, job.ways)
    num, run = sum(map(len, tasks.values())), len(planned.families)
    say(f"{len(planned.settings)} settings, {run} of them run, on {num} questions")
    if job.hosts:
        counts, torn = _far(job, planned, tasks, say)
    else:
        counts, torn = _near(job, planned, tasks, say, meter)
    there = any(job.out.glob("trials*.jsonl"))
    ways = {setting.config: f"{setting.model} {setting.way}" for setting in planned.settings}
    return Done(
        job.out,
        report_of(job.out).findings if there else None,
        sum(count.run for count in counts.values()),
        sum(count.read_off for count in counts.values()),
        torn,
        any(count.out_of_time for count in counts.values()),
        {
            " ".join(filter(None, [device if job.hosts else "", ways.get(config, "")])): why
            for device, count in counts.items()
            for config, why in count.failed.items()
        },
    )


def _near(
    job: Job, planned: Plan, tasks: Tasks, say: Say, meter: Meter | None
) -> tuple[dict[str, Count], int]:
    """On this machine. What was done, by device, and how many torn bytes were cut off."""
    with Store.open(job.out, job.device_name) as store:
        _told(store, say)
        kept = _Kept(job, machine())
        drop = _drop(job, planned, tasks, kept)
        count = sweep(planned, tasks, store, _terms(job, meter), say, drop=drop)
        kept.close()
        return {job.device_name: count}, store.torn


def _far(job: Job, planned: Plan, tasks: Tasks, say: Say) -> tuple[dict[str, Count], int]:
    """On each of the hosts; as `_near`."""
    models = {setting.model: setting.weights for setting in planned.settings}
    with cluster.joined() as joined, ExitStack() as stack:
        joined.check(job.hosts)
        owns = {name: replace(job, device=name, hosts=()) for name in job.hosts}
        actors = {name: joined.start(_terms(own)) for name, own in owns.items()}
        devices, torn = [], 0
        for name, own in owns.items():
            terms, count = _terms(own), Count()
            store = stack.enter_context(Store.open(job.out, name))
            told = _named(name, say)
            kept = _Kept(own, joined.about(name, actors[name], models, told))
            stack.callback(kept.close)
            torn += store.torn
            _told(store, told)
            found = works(
                planned, tasks, store, terms, count=count, say=told,
                drop=_drop(own, planned, tasks, kept),
            )  # fmt: skip
            until = time.monotonic() + job.time_limit_s
            devices.append(cluster.Device(terms, store, count, found, until, actors[name]))
        joined.sweep(devices, say)
        return {device.name: device.count for device in devices}, torn


def _named(name: str, say: Say) -> Say:
    return lambda text: say(f"{name}: {text}")


def _told(store: Store, say: Say) -> None:
    if store.torn:
        say(f"the last run was cut in the middle of a line: {store.torn} bytes are cut off")
    say(f"{len(store)} trials are there")


def _terms(job: Job, meter: Meter | None = None) -> Terms:
    return Terms(job.device_name, job.seed, job.time_limit_s, job.check, meter)


def report_of(folder: Path, deadlines_ms: Sequence[float] | None = None) -> Done:
    """Writes the report of all trials in a folder. Deadlines: those of the sweeps, if none are
    given."""
    sweeps = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("sweep-*.json"))]
    if deadlines_ms is None:
        limits = {limit for each in sweeps for limit in each["deadlines_ms"]}
    else:
        limits = set(deadlines_ms)
    dropped = {
        (config, each["device"]): why for each in sweeps for config, why in each["dropped"].items()
    }
    found = points(read_frame(folder), sorted(limits), dropped)
    write(folder, found, sweeps)
    return Done(folder, found)


def _model(name: str, job: Job) -> Setting:
    """The setting of a model, its way still open. Raises what is wrong with the model."""
    bundle = open_bundle(resolve(name))
    size = sum(file.size_bytes for file in bundle.files)
    return Setting(
        name,
        "",
        job.answer_tokens,
        job.temperature,
        job.threads,
        job.context,
        job.think_tokens,
        str(size),
    )


class _Kept:
    """What was asked of which machine, `of`, beside the trials; times of all runs add up."""

    def __init__(self, job: Job, of: Mapping[str, Any]) -> None:
        self._path = job.out / _KEPT.format(device=job.device_name)
        self._begin = time.monotonic()
        try:
            before = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            before = {"seconds": 0.0, "runs": 0}
        options = {key: str(v) if isinstance(v, Path) else v for key, v in asdict(job).items()}
        self.data: dict[str, Any] = {
            "device": job.device_name,
            "options": options,
            "deadlines_ms": list(job.deadlines_ms),
            "machine": of,
            "commit": commit(),
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "runs": before["runs"] + 1,
            "seconds": before["seconds"],
            "dropped": {},
        }
        self._before_s = float(before["seconds"])
        self.write()

    def write(self) -> None:
        self.data["seconds"] = self._before_s + time.monotonic() - self._begin
        with files.replacing(self._path) as file:
            file.write((json.dumps(self.data, indent=1) + "\n").encode())

    close = write


def _drop(job: Job, planned: Plan, tasks: Tasks, kept: _Kept) -> Callable[[int], frozenset[str]]:
    """Says after each turn who is dropped: who is beaten in every task.

    Looks only at the turns that are done, so that a run that goes on comes to the same.
    """
    droppers = {
        task: Dropper(RULES[job.drop], len(all_)) for task, all_ in tasks.items()
    } if job.drop in RULES else {}  # fmt: skip
    configs = [setting.config for setting in planned.settings]

    def after(num_turns: int) -> frozenset[str]:
        kept.write()
        looking = [task for task, each in droppers.items() if num_turns in each.rungs]
        if looking:
            trials = _by_place(read(job.out), job)
            for task in looking:
                _look(droppers[task], configs, tasks[task][:num_turns], task, trials)
        beaten = [set(each.dropped) for each in droppers.values()]
        gone = set.intersection(*beaten) if beaten else set()
        for i in gone:
            asked = max(each.dropped[i] for each in droppers.values())
            kept.data["dropped"][configs[i]] = f"beaten after {asked} questions of each task"
        return frozenset(configs[i] for i in gone)

    return after


def _by_place(trials: Sequence[Trial], job: Job) -> dict[tuple[str, str, str], Trial]:
    own = (each for each in trials if each.device == job.device_name and each.seed == job.seed)
    return {(each.config, each.task, each.question): each for each in own}


def _look(
    dropper: Dropper,
    configs: Sequence[str],
    asked: Sequence[Item],
    task: str,
    trials: Mapping[tuple[str, str, str], Trial],
) -> None:
    """One look at one task. A setting without all its trials, or their times, is left alone."""
    num = len(asked)
    right = np.zeros((len(configs), num), dtype=np.bool_)
    low, high = np.full(len(configs), 0.0), np.full(len(configs), np.inf)
    draws = Draws.of(num, num=500)
    for i, config in enumerate(configs):
        own = [trials.get((config, task, item.id)) for item in asked]
        times = [each.total_ms for each in own if each is not None and each.total_ms is not None]
        if len(times) == num:
            right[i] = [each is not None and each.right for each in own]
            medians = draws.quantiles(np.array([times]), 0.5)
            (low[i],), (high[i],) = interval(medians)
    dropper.look(right, low, high)
