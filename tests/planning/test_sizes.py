"""What a model takes, before it is opened."""

from __future__ import annotations

import pytest

from edgereason.errors import UsageError
from edgereason.models.bundle import open_bundle
from edgereason.models.catalog import catalog
from edgereason.models.hub import EMBEDDED
from edgereason.planning.sizes import of_bundle, of_catalog, of_shape


def test_a_model_that_is_here() -> None:
    bundle = open_bundle(EMBEDDED / "nano")
    size = of_bundle(bundle)
    assert size.model == "nano"
    assert size.weight_bytes >= bundle.files[0].size_bytes
    assert size.num_parameters == bundle.num_parameters
    assert size.kv_bytes == bundle.kv_bytes_per_token


def test_a_model_of_the_catalog() -> None:
    size = of_catalog("smollm2-135m", catalog()["smollm2-135m"])
    assert (size.name, size.format) == ("SmolLM2-135M-Instruct", "Q4_1")
    assert size.weight_bytes == 98362432
    assert size.kv_bytes is None
    assert size.in_format("q8_0").weight_bytes == pytest.approx(98362432 * 8.5 / 5.0)


def test_other_formats_of_the_same_weights() -> None:
    size = of_shape("m", "m/config.json", num_parameters=1e9, kv_numbers=1000, context=4096)
    assert (size.format, size.weight_bytes, size.kv_bytes and size.kv_bytes["f16"]) == (
        "F16",
        2e9,
        2000,
    )
    small = size.in_format("q4_0")
    assert (small.format, small.weight_bytes) == ("Q4_0", 4.5e9 / 8)
    assert small.source == "computed from its config.json"
    assert size.in_format("F16") is size
    with pytest.raises(UsageError, match="no format called 'q4'"):
        size.in_format("q4")
