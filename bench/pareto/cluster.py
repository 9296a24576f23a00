"""One sweep on many devices, through a Ray cluster: each device gets all trials, one at a time.

A device is a node that was started with `--resources '{"device:NAME": 1}'`. An actor on it asks;
this process deals out the work, writes a file of trials for each device and does all retries: Ray's
own would repeat a measurement and say nothing. A device that goes away gets what it had in hand
again when a node of its name is back, until the time of the sweep is over. Ray trusts its network.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import edgereason
from edgereason.errors import EdgereasonError, UnsupportedError, UsageError
from edgereason.models.bundle import open_bundle
from edgereason.models.hub import resolve
from edgereason.planning import energy

from ..harness.runner import Say, machine
from ..harness.trials import Key, Store, Trial
from .sweep import Asker, Count, Terms, Work

_RESOURCE: Final = "device:"
_START_S: Final = 120  # a small board imports for a while
_WAIT_S: Final = 1.0
_MOST_DEATHS: Final = 3  # of a device's process, with the same work in hand


# --- on a device ----------------------------------------------------------------------------------


class Notes:
    """Trials on their way to the file. `known`: keys that the file has."""

    def __init__(self, known: frozenset[Key]) -> None:
        self._known = known
        self.trials: list[Trial] = []

    def __contains__(self, key: Key) -> bool:
        return key in self._known

    def append(self, trial: Trial) -> None:
        self.trials.append(trial)


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one work. `wrong`: why there is no going on with this device."""

    trials: Sequence[Trial] = ()
    count: Count = field(default_factory=Count)
    wrong: str = ""


class Actor:
    """What runs on a device, as a Ray actor."""

    def __init__(self, terms: Terms) -> None:
        self._asker = Asker(replace(terms, meter=energy.meter()))

    def about(self) -> Mapping[str, Any]:
        return {"version": edgereason.__version__, "machine": machine(), "niceness": os.nice(0)}

    def lacks(self, models: Mapping[str, str]) -> str:
        """Which of the models, with the bytes of their files, it has not; "" if it has all."""
        for name, size in models.items():
            try:
                own = str(sum(file.size_bytes for file in open_bundle(resolve(name)).files))
            except EdgereasonError as error:
                return f"{error}"
            if own != size:
                return f"its {name} has {own} bytes, that of this machine {size}"
        return ""

    def ask(self, work: Work, known: frozenset[Key]) -> Answered:
        notes, count = Notes(known), Count()
        try:
            self._asker.ask(work, notes, count)
        except EdgereasonError as error:  # such as a model that does not fit there
            return Answered(notes.trials, count, f"{error}")
        return Answered(notes.trials, count)


# --- here -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Device:
    """One device as this process sees it. `works` gives what is missing in `store`."""

    terms: Terms
    store: Store
    count: Count
    works: Iterator[Work]
    until: float = float("inf")  # by `time.monotonic`; nothing is begun later
    actor: Any = None  # None: its process is gone
    work: Work | None = None  # in hand, also while the device is away
    call: Any = None  # that of this work, while it runs
    deaths: int = 0  # of its process, with this work in hand
    rest_until: float = 0.0
    is_away: bool = False  # and that was said

    @property
    def name(self) -> str:
        return self.terms.device

    def take(self, answered: Answered) -> None:
        """A trial that ran twice is kept once: by its key."""
        for trial in answered.trials:
            self.store.append(trial)
        self.count.run += answered.count.run
        self.count.read_off += answered.count.read_off
        for config, why in answered.count.failed.items():
            self.count.failed.setdefault(config, why)
        self.work, self.deaths = None, 0


class Cluster:
    """The Ray cluster that this machine belongs to."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def present(self) -> set[str]:
        """Names of the devices whose nodes are alive."""
        alive = (node["Resources"] for node in self._ray.nodes() if node["Alive"])
        named = (key for resources in alive for key in resources if key.startswith(_RESOURCE))
        return {key.removeprefix(_RESOURCE) for key in named}

    def check(self, names: Sequence[str]) -> None:
        """Raises `UsageError` on a device that no node is: Ray would wait for it for ever."""
        there = self.present()
        missing = [name for name in names if name not in there]
        if missing:
            have = ", ".join(sorted(there)) or "none"
            says = f'{{"device:{missing[0]}": 1}}'
            raise UsageError(
                f"no device of this cluster is called {', '.join(missing)}; there are: {have}",
                f"on it: ray start --address HEAD:6379 --resources '{says}'",
            )

    def start(self, terms: Terms) -> Any:
        actor = self._ray.remote(Actor).options(
            resources={f"{_RESOURCE}{terms.device}": 1},
            num_cpus=0,
            max_restarts=0,
            max_task_retries=0,
        )
        return actor.remote(terms)

    def about(
        self, name: str, actor: Any, models: Mapping[str, str], say: Say
    ) -> Mapping[str, Any]:
        """The device's machine. Raises `UsageError` where it cannot take part."""
        try:
            told = self._ray.get(actor.about.remote(), timeout=_START_S)
            lacks = self._ray.get(actor.lacks.remote(models), timeout=_START_S)
        except self._ray.exceptions.GetTimeoutError:
            raise UsageError(
                f"device {name} did not begin within {_START_S} s", "is another sweep on it?"
            ) from None
        except self._ray.exceptions.RayError as error:
            raise UsageError(f"device {name} did not begin: {error}") from None
        if told["version"] != edgereason.__version__:
            raise UsageError(
                f"device {name} has edgereason {told['version']}, this machine "
                f"{edgereason.__version__}", "install the same on both",
            )  # fmt: skip
        if lacks:
            raise UsageError(f"device {name}: {lacks}", "give it the same files")
        if told["niceness"] > os.nice(0):
            say(
                f"it runs at niceness {told['niceness']}, behind all other programs: start Ray "
                "with RAY_worker_niceness=0"
            )
        found: Mapping[str, Any] = told["machine"]
        return found

    def sweep(self, devices: Sequence[Device], say: Say) -> None:
        """Until each has done its works, or its time is over."""
        open_ = list(devices)
        while open_:
            open_ = [
                device for device in open_ if device.call is not None or self._ask(device, say)
            ]
            calls = {device.call: device for device in open_ if device.call is not None}
            if not calls:
                time.sleep(_WAIT_S if open_ else 0)
                continue
            for call in self._ray.wait(list(calls), timeout=_WAIT_S)[0]:
                device = calls.pop(call)
                device.call = None
                self._take(device, call, say)
            for device in calls.values():  # Ray would wait for their nodes for ever
                if time.monotonic() > device.until and device.name not in self.present():
                    device.call = device.actor = None

    def _ask(self, device: Device, say: Say) -> bool:
        """Gives it work, and a process where its own is gone and its node is back. False: there is
        nothing more to do."""
        if device.work is None:
            device.work = next(device.works, None)
        if device.work is None:
            return False
        if device.actor is None:
            if time.monotonic() > device.until:
                device.count.out_of_time = True
                return False
            is_away = device.name not in self.present()
            if is_away != device.is_away:
                say(f"{device.name} is {'away: its work waits for it' if is_away else 'back'}")
                device.is_away = is_away
            if not is_away:
                device.actor = self.start(device.terms)
        if device.actor is not None and time.monotonic() >= device.rest_until:
            known = [key for key in device.work.keys(device.terms) if key in device.store]
            device.call = device.actor.ask.remote(device.work, frozenset(known))
        return True

    def _take(self, device: Device, call: Any, say: Say) -> None:
        errors = self._ray.exceptions
        try:
            answered: Answered = self._ray.get(call)
        except errors.ActorUnavailableError:  # Ray does not know yet whether it is gone
            device.rest_until = time.monotonic() + _WAIT_S
            return
        except errors.ActorDiedError as error:
            device.actor = None
            if device.name in self.present():
                device.deaths += 1
            if device.deaths >= _MOST_DEATHS and device.work is not None:
                config = device.work.family.run.config
                device.count.failed.setdefault(config, f"its process died {device.deaths} times")
                device.work, device.deaths = None, 0
            say(f"{device.name}: its process is gone ({str(error).splitlines()[0]})")
            return
        device.take(answered)
        if answered.wrong:
            say(f"{device.name}: {answered.wrong}")
            device.count.failed.setdefault("", answered.wrong)
            device.works = iter(())


@contextmanager
def joined() -> Iterator[Cluster]:
    """The cluster that this machine is part of, left again at the end.

    Raises:
        UnsupportedError: Ray is not installed.
        UsageError: this machine is part of no cluster.
    """
    try:
        import ray
    except ImportError:
        raise UnsupportedError(
            "--hosts needs Ray, which is not installed", "pip install 'edgereason[cluster]'"
        ) from None
    try:
        ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    except ConnectionError:
        raise UsageError(
            "this machine is part of no Ray cluster", "ray start --head; see docs/pareto.md"
        ) from None
    try:
        yield Cluster(ray)
    finally:
        ray.shutdown()
