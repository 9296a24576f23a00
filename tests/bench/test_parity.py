"""Where an answer first differs from libllama's."""

from __future__ import annotations

import pytest

from edgereason.bench.suites.parity import Reference, first_difference


@pytest.mark.parametrize(
    ("got", "position", "margin"),
    [([1, 2, 3], None, None), ([1, 5, 3], 1, 0.2), ([1, 2], 2, 0.3), ([1, 2, 3, 4], 3, 0.4)],
)
def test_the_first_difference_comes_with_its_margin(
    got: list[int], position: int | None, margin: float | None
) -> None:
    reference = Reference((9,), (1, 2, 3), ((1, 0),) * 4, (0.1, 0.2, 0.3, 0.4))
    found = first_difference(7, reference, got)
    assert (found and found.position) == position
    assert (found and found.margin) == margin
