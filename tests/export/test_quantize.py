"""Blocks of few bits: what they hold, what the search of the scale gains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgereason.export.weights.blocks import packed, quantize

Floats = NDArray[np.float32]

FORMS: tuple[dict[str, Any], ...] = (
    {"bits": 8},
    {"bits": 4},
    {"bits": 4, "symmetric": False},
    {"bits": 4, "positive": True},
    {"bits": 8, "positive": True},
)


def _weight(out: int = 48, width: int = 128, seed: int = 0) -> Floats:
    """Heavy tails, and blocks that do not lie around zero: as weights of real models."""
    rng = np.random.default_rng(seed)
    blocks = rng.standard_t(5, (out, width // 32, 32)) + rng.normal(0, 0.5, (out, width // 32, 1))
    return (0.02 * blocks).reshape(out, width).astype(np.float32)


def _error(weight: Floats, found: Floats, driven: Floats | float = 1.0) -> float:
    return float((driven * (weight - found) ** 2).sum())


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_no_number_moves_by_more_than_rounding(form: dict[str, Any]) -> None:
    weight = _weight()
    blocks = quantize(weight, **form, search=False)
    assert blocks.codes.shape == (48, 4, 32)
    assert blocks.codes.max() < 1 << form["bits"]
    moved = np.abs(weight - blocks.dequantized()).reshape(48, 4, 32)
    # Only a number at the open end of the codes is cut, by less than one step.
    assert (moved <= np.abs(blocks.scales)[..., None] * 1.001).all()
    assert (moved <= np.abs(blocks.scales)[..., None] * 0.501).mean() > 0.95


@pytest.mark.parametrize("form", FORMS[1:4], ids=str)
def test_the_search_lowers_the_weighted_error(form: dict[str, Any]) -> None:
    weight = _weight()
    driven = np.random.default_rng(1).gamma(0.3, 1.0, 128).astype(np.float32)
    plain = quantize(weight, **form, search=False).dequantized()
    weighted = quantize(weight, **form, importance=driven).dequantized()
    assert _error(weight, weighted, driven) < 0.9 * _error(weight, plain, driven)


def test_zeros_pay_where_blocks_do_not_lie_around_zero() -> None:
    weight = _weight()
    symmetric = _error(weight, quantize(weight, bits=4).dequantized())
    assert _error(weight, quantize(weight, bits=4, symmetric=False).dequantized()) < symmetric


def test_positive_scales_where_a_runtime_wants_them() -> None:
    weight = _weight()
    assert (quantize(weight, bits=4).scales < 0).any()
    blocks = quantize(weight, bits=4, positive=True)
    assert (blocks.scales > 0).all()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_blocks_of_zeros_and_of_one_value_are_exact(form: dict[str, Any]) -> None:
    weight = np.zeros((3, 64), np.float32)
    weight[1, :32] = 0.37
    weight[2] = -1e-3
    found = quantize(weight, **form).dequantized()
    np.testing.assert_allclose(found, weight, rtol=1e-5)


def test_chunks_do_not_show() -> None:
    weight = _weight(out=700, width=256)
    whole = quantize(weight, bits=4).dequantized()
    parts = [quantize(weight[i : i + 1], bits=4).dequantized() for i in (0, 255, 256, 699)]
    np.testing.assert_array_equal(whole[[0, 255, 256, 699]], np.concatenate(parts))


def test_two_codes_share_a_byte() -> None:
    codes = np.array([[1, 15, 3], [0, 2, 9]], np.uint8)
    assert packed(codes, 4).tolist() == [[0xF1, 0x03], [0x20, 0x09]]
    assert packed(codes, 8) is codes
