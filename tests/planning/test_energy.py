"""Joules out of what meters say, on a clock that is moved by hand."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from edgereason.planning import energy
from edgereason.planning.energy import Meter, Sampler


class Fake:
    """A source whose readings are set."""

    name, scope, period_s = "fake", "module", 0.01

    def __init__(
        self, readings: Mapping[str, float], *, total: str = "", counts: bool = False
    ) -> None:
        self.readings, self.total, self.is_counter = dict(readings), total, counts

    def read(self) -> Mapping[str, float]:
        return dict(self.readings)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_watts_are_added_up_as_a_trapezoid() -> None:
    source, clock = Fake({"VDD_IN": 4.0, "VDD_SOC": 1.0}, total="VDD_IN"), Clock()
    sampler = Sampler([source], clock=clock)
    assert sampler.total(sampler.sample()) == 0
    clock.now += 2
    source.readings["VDD_IN"] = 6.0
    rails = sampler.sample()
    assert rails == {"fake.VDD_IN": 10.0, "fake.VDD_SOC": 2.0}
    assert sampler.total(rails) == 10.0  # the others are inside it


def test_rails_without_a_total_and_counters_are_added() -> None:
    clock = Clock()
    counter, gpu = Fake({"package-0": 500.0}, counts=True), Fake({"gpu0": 20.0})
    gpu.name = "nvml"
    sampler = Sampler([counter, gpu], clock=clock)
    sampler.sample()
    clock.now += 3
    counter.readings["package-0"] = 512.0
    assert sampler.total(sampler.sample()) == pytest.approx(12 + 60)
    assert (sampler.label, sampler.scope) == ("fake+nvml", "module, module")


def test_a_rail_that_is_lost_for_a_while_is_bridged() -> None:
    source, clock = Fake({"VDD_IN": 4.0}), Clock()
    sampler = Sampler([source], clock=clock)
    sampler.sample()
    clock.now += 1
    source.readings = {}
    sampler.sample()
    clock.now += 1
    source.readings = {"VDD_IN": 6.0}
    assert sampler.sample() == {"fake.VDD_IN": pytest.approx(10.0)}


def test_what_the_machine_takes_at_rest_is_not_learned_while_it_works() -> None:
    source, clock = Fake({"VDD_IN": 5.0}), Clock()
    sampler = Sampler([source], clock=clock)
    sampler.sample()
    assert sampler.idle_watts is None
    for _ in range(5):
        clock.now += 0.2
        sampler.sample()
    assert sampler.idle_watts == pytest.approx(5.0)
    sampler._users = 1  # somebody measures
    source.readings["VDD_IN"] = 15.0
    for _ in range(60):
        clock.now += 0.02
        sampler.sample()
    sampler.leave()
    clock.now += 0.2
    sampler.sample()  # it has not settled yet
    assert sampler.idle_watts == pytest.approx(5.0)


def test_a_meter_measures_from_start_to_stop() -> None:
    source = Fake({"VDD_IN": 8.0})
    sampler = Sampler([source])
    meter = Meter(sampler)
    meter.start()
    time.sleep(0.2)
    joules = meter.stop()
    assert joules is not None
    assert joules == pytest.approx(8.0 * meter.seconds, rel=0.1)
    assert meter.rails == {"fake.VDD_IN": joules}
    assert meter.stop() == joules
    assert sampler._users == 0


def test_two_meters_at_once_both_see_the_machine() -> None:
    sampler = Sampler([Fake({"VDD_IN": 8.0})])
    one, two = Meter(sampler), Meter(sampler)
    one.start()
    two.start()
    time.sleep(0.1)
    assert one.stop() == pytest.approx(two.stop() or 0, rel=0.3)


def test_a_meter_that_says_nothing_is_none_not_zero() -> None:
    meter = Meter(Sampler([Fake({})]))
    meter.start()
    assert meter.stop() is None
    assert Meter(Sampler([Fake({"a": 1.0})])).stop() is None  # never started


def test_without_a_meter_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "shared", lambda: None)
    assert energy.meter() is None
    energy.watch()
