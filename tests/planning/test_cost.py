"""What prompts and answers take, from what steps cost. That the core's model is the same one is
tested in `tests/core/test_policies.py`.
"""

from __future__ import annotations

import pytest

from edgereason.errors import UsageError
from edgereason.planning.cost import Cost, Power, Prefill


def made(**more: object) -> Cost:
    told: dict[str, object] = {"model": "m", "source": "here", "step_ms": {1: 10.0}, **more}
    return Cost(**told)  # type: ignore[arg-type]  # as a file would have it


def test_the_first_token_comes_out_of_the_prompt() -> None:
    cost = made(cell_ms=0.01)
    assert cost.decode_ms(100, 1) == 0
    assert cost.decode_ms(100, 21) == pytest.approx(20 * (10 + 0.01 * 110.5))
    assert made(overhead_ms=0.5).decode_ms(100, 21) == pytest.approx(20 * 10.5)


def test_prompts_are_read_in_chunks_whose_rows_read_what_is_before_them() -> None:
    cost = made(step_ms={1: 10.0, 4: 16.0, 8: 24.0}, cell_ms=0.5, batch=8)
    assert cost.prompt_ms(4) == pytest.approx(16 + 0.5 * (0 + 1 + 2 + 3))
    assert cost.prompt_ms(4, num_before=10) == pytest.approx(16 + 0.5 * (10 + 11 + 12 + 13))
    assert cost.prompt_ms(10) == pytest.approx(cost.prompt_ms(8) + cost.prompt_ms(2, 8))
    assert cost.rows_ms(6) == pytest.approx(20)  # between two that are known
    assert cost.rows_ms(32, 640) == pytest.approx(96 + 0.5 * 640 / 2)  # cells are read once


def test_prompts_by_tiles() -> None:
    prefill = Prefill(
        base_ms=5, least_ms=65, tile_ms={64: 0.1, 256: 0.2}, chunk_tokens=2048, chunk_ms=100
    )
    cost = made(prefill=prefill)
    assert cost.prompt_ms(3) == 65  # the least there is: 5 + 6.4 + 51.2 are less
    assert cost.prompt_ms(100) == pytest.approx(5 + 12.8 + 51.2)
    assert cost.prompt_ms(2049) == pytest.approx(5 + 0.1 * 2112 + 0.2 * 2304 + 100)


def test_what_prompts_cost_may_be_unknown() -> None:
    with pytest.raises(UsageError, match="what prompts of m cost is not known"):
        made().prompt_ms(10)


def test_energy_rises_from_idle() -> None:
    power = Power(25.0, rise_watts=20.0, rise_s=1.5)
    assert power.joules(0) == 0
    assert power.joules(1000) < 12.5  # still rising
    assert power.joules(101_000) - power.joules(100_000) == pytest.approx(25.0, rel=1e-3)
    assert Power(10.0).joules(2000) == 20.0
    shorter = Power(25.0, rise_watts=190.0, rise_s=0.2, rise_s_per_token=-1e-4)
    assert shorter.joules(5000, 1000) > shorter.joules(5000, 0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"source": " "}, "must say where it is from"),
        ({"step_ms": {2: 1.0}}, "for 1 row and for other powers of two"),
        ({"step_ms": {1: 1.0, 3: 2.0}}, "powers of two"),
        ({"step_ms": {1: 0.0}}, "positive milliseconds"),
        ({"cell_ms": -1.0}, "a cell_ms of 0 or more"),
        ({"batch": 0}, "a batch above 0"),
        ({"spread": 5.0}, "a spread below 3"),
    ],
)
def test_what_is_no_cost_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        made(**wrong)
