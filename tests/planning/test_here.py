"""What was measured of a model is found again, for the same way of opening it alone."""

from __future__ import annotations

import json

from edgereason.models.bundle import open_bundle
from edgereason.models.hub import EMBEDDED
from edgereason.planning import here, measured
from edgereason.planning.cost import Cost, Power
from edgereason.planning.here import Choice

NANO = open_bundle(EMBEDDED / "nano")
COST = Cost("nano", "measured", {1: 0.5, 16: 2.0}, 1e-4, power=Power(5.0))


def test_a_cost_is_kept_for_one_way_of_opening() -> None:
    assert here.load_cost(NANO) is None
    way = here.way_of_opening("llamacpp", {"kv": "f16", "context": 512}, 2)
    here.save_cost(NANO, COST, way)
    assert here.load_cost(NANO) == COST
    assert here.load_cost(NANO, here.way_of_opening("llamacpp", {"kv": "f16"}, 2)) == COST
    for other in (("llamacpp", {"kv": "q8_0"}, 2), ("llamacpp", {"kv": "f16"}, 1)):
        assert here.load_cost(NANO, here.way_of_opening(*other)) is None


def test_what_cannot_be_read_was_not_measured() -> None:
    way = here.way_of_opening("llamacpp", {})
    here.save_cost(NANO, COST, way)
    here.save_tuned(NANO, (Choice(0, "m.gguf", "Q4_0"),))
    path = measured.file_of(NANO)
    data = json.loads(path.read_text())
    data["step_cost"]["cost"]["step_ms"] = {"3": 1.0}
    data["tuned"]["choices"] = [{"speed": "fast"}]
    path.write_text(json.dumps(data))
    assert here.load_cost(NANO) is None
    assert here.load_tuned(NANO) == ()


def test_choices() -> None:
    choice = Choice(1, "m.gguf", "Q4_0", {"threads": 2}, 1.4, 1.3, 1.5, 0.04, 0.05)
    here.save_tuned(NANO, (choice,))
    assert here.load_tuned(NANO) == (choice,)
    here.save_tuned(NANO, ())
    assert here.load_tuned(NANO) == ()
