"""Joules in answers, only where the machine has a meter."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from edgereason.errors import UsageError
from edgereason.planning import energy
from edgereason.planning.energy import Sampler
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED


class TenWatts:
    name, scope, total, is_counter, period_s = "ina3221", "module", "VDD_IN", False, 0.005

    def read(self) -> Mapping[str, float]:
        return {"VDD_IN": 10.0, "VDD_SOC": 2.0}


@pytest.fixture
def sampler(monkeypatch: pytest.MonkeyPatch) -> Sampler:
    made = Sampler([TenWatts()])
    monkeypatch.setattr(energy, "shared", lambda: made)
    return made


def test_an_answer_tells_what_the_machine_took(sampler: Sampler) -> None:
    with Reasoner.open(SCRIPTED) as reasoner:
        time.sleep(1.0)  # it rests
        answer = reasoner.ask("What is 17 * 3?", strategy="think", answer_budget=16)
    told = answer.energy
    assert told is not None
    assert told.joules == pytest.approx(10 * answer.timings.total_ms / 1000, rel=0.5)
    tokens = answer.usage.reasoning_tokens + answer.usage.answer_tokens
    assert told.joules_per_token == pytest.approx(told.joules / tokens, rel=0.3)
    assert told.rails["ina3221.VDD_SOC"] == pytest.approx(told.joules / 5)
    assert told.idle_watts == pytest.approx(10.0)
    assert told.above_idle_joules == pytest.approx(0, abs=0.2 * told.joules + 1e-6)
    assert answer.to_dict()["energy"]["meter"] == "ina3221"


def test_a_request_that_fails_lets_the_meter_go(sampler: Sampler) -> None:
    with Reasoner.open(SCRIPTED) as reasoner:
        with pytest.raises(UsageError):
            reasoner.ask("What is 17 * 3?", strategy="no-such-way")
        reasoner.submit("What is 17 * 3?", strategy="think").cancel()
        assert reasoner.wait_idle()
        reasoner.ask("What is 17 * 3?")
    assert sampler._users == 0


def test_without_a_meter_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "shared", lambda: None)
    with Reasoner.open(SCRIPTED) as reasoner:
        answer = reasoner.ask("What is 17 * 3?")
    assert answer.energy is None
    assert "energy" not in answer.to_dict()
