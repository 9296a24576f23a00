"""What a model would cost on a device, and where that is known from."""

from __future__ import annotations

import pytest

from edgereason.errors import UsageError
from edgereason.planning.cost import Cost
from edgereason.planning.estimate import NO_PROMPTS, Device
from edgereason.planning.profile import Datasheet, Mode, Point, Profile, load_profile
from edgereason.planning.sizes import Size


def size(name: str, gigabytes: float, format: str = "Q4_K_M", params: float = 0.0) -> Size:
    return Size(
        name, name, format, "llamacpp", "made up", gigabytes * 1e9, params, kv_bytes={"f16": 1e5}
    )


def test_what_was_measured_here_comes_first() -> None:
    cost = Cost("m", "measured", {1: 5.0, 512: 100.0})
    device = Device(load_profile("generic-x86"), here=lambda size: cost)
    found = device.cost_of(size("SmolLM2-135M-Instruct", 0.098, "Q4_1"))
    assert found is not None
    assert (found.cost, found.source) == (cost, "measured here")


def test_then_what_was_measured_on_such_a_board() -> None:
    device = Device(load_profile("generic-x86"))
    found = device.cost_of(size("HuggingFaceTB/SmolLM2-135M-Instruct-GGUF", 0.098, "Q4_0"))
    assert found is not None
    assert found.cost.step_ms[1] == 4.74
    assert found.source.startswith("measured on generic-x86: bare loop")


def test_else_the_roofline_at_the_share_that_others_use() -> None:
    """Two models that were measured use half and a quarter of the memory's rate."""
    points = (
        Point("a", 50.0, "x's bench", weight_bytes=1e9),
        Point("b", 12.5, "x's bench", weight_bytes=2e9),
    )
    profile = Profile("p", "made up", datasheet=Datasheet("sheet", 100.0), points=points)
    found = Device(profile).cost_of(size("c", 1.0))
    assert found is not None
    share = (0.5 * 0.25) ** 0.5
    assert found.cost.step_ms[1] == pytest.approx(1e9 / (100 * share * 1e6))
    assert found.cost.cell_ms == pytest.approx(1e5 / (100 * share * 1e6))
    assert found.cost.spread == pytest.approx(0.3466, abs=1e-3)
    assert "35% of 100 GB/s, 2 others measured on it" in found.source
    assert found.lacks == NO_PROMPTS


def test_one_model_tells_little_and_none_less() -> None:
    one = Point("a", 50.0, "x's bench", weight_bytes=1e9)
    spreads = []
    for points in ((one,), ()):
        profile = Profile("p", "made up", datasheet=Datasheet("sheet", 100.0), points=points)
        found = Device(profile).cost_of(size("c", 1.0))
        assert found is not None
        spreads.append(found.cost.spread)
    assert spreads == [0.15, 0.25]


def test_the_third_model_of_the_orin_is_within_the_roofline_of_the_other_two() -> None:
    """The 8B of the paper was not part of what the shares are from; its interval must hold it."""
    orin = load_profile("jetson-agx-orin-64gb")
    others = Profile(
        "two", "traces", datasheet=orin.datasheet, modes=orin.modes, costs=tuple(orin.costs[:2])
    )
    third = orin.costs[2]
    found = Device(others, mode="MAXN").cost_of(
        size("8B", third.weight_bytes / 1e9, "F16", third.num_parameters)
    )
    assert found is not None
    ratio = found.cost.step_ms[1] / third.step_ms[1]
    assert 1 / 1.2 < ratio < 1.2
    assert found.cost.spread * 1.645 >= 0.1 - 1e-9


def test_prompts_by_what_other_models_take() -> None:
    device = Device(load_profile("generic-x86"))
    found = device.cost_of(size("Other-500M", 0.4, "Q4_0", params=494e6))
    assert found is not None
    per_parameter = found.cost.prompt_ms(512) / 494e6
    measured = [cost.prompt_ms(512) / 134.5e6 for cost in load_profile("generic-x86").costs]
    assert min(measured) < per_parameter < max(measured)
    assert "prompts by other models'" in found.source


def test_a_power_mode_with_less_memory_is_slower() -> None:
    nano = load_profile("jetson-orin-nano-super-8gb")
    model = size("c", 1.0)
    slow, fast = (Device(nano, mode=mode).cost_of(model) for mode in ("15W", "25W"))
    assert slow is not None
    assert fast is not None
    assert slow.cost.step_ms[1] / fast.cost.step_ms[1] == pytest.approx(102.4 / 68.3, rel=1e-3)


def test_watts_choose_the_fastest_mode_within() -> None:
    nano = load_profile("jetson-orin-nano-super-8gb")
    assert Device(nano, watts=20).label == "jetson-orin-nano-super-8gb, 15W"
    assert Device(nano, watts=30).label == "jetson-orin-nano-super-8gb, 25W"
    with pytest.raises(UsageError, match="no power mode of 10 W or less") as raised:
        Device(nano, watts=10)
    assert "the least is 15 W" in raised.value.hint
    free = Profile("p", "made up", modes=(Mode("MAXN", "sheet", default=True),))
    with pytest.raises(UsageError, match="no power mode of 10 W") as raised:
        Device(free, watts=10)
    assert "knows no watts" in raised.value.hint


def test_what_is_not_known_is_none() -> None:
    assert Device(Profile("p", "nothing")).cost_of(size("c", 1.0)) is None
    sheet = Profile("p", "made up", datasheet=Datasheet("sheet", 100.0))
    assert Device(sheet).cost_of(Size("c", "c", "", "llamacpp", "nothing")) is None
