"""What Python and the core both have names for is the same: enumerations, and fields of records."""

from __future__ import annotations

from dataclasses import fields

import pytest

from edgereason import _core
from edgereason.prompt.lowering import FIELDS
from edgereason.records import (
    Blend,
    Capability,
    Channel,
    Loop,
    PhaseResult,
    Probe,
    Role,
    Sampling,
    StopReason,
)


@pytest.mark.parametrize("enum", [StopReason, Role, Channel], ids=lambda enum: enum.__name__)
def test_enumerations(enum: type[StopReason] | type[Role] | type[Channel]) -> None:
    assert {member.value for member in enum} == set(_core.names(enum.__name__))


def test_capabilities_have_the_same_bits() -> None:
    bits = {name.upper(): 1 << i for i, name in enumerate(_core.names("Capability"))}
    assert bits == {flag.name: flag.value for flag in Capability if flag}


@pytest.mark.parametrize(
    "record", [Sampling, Probe, Loop, Blend], ids=lambda record: record.__name__
)
def test_records(record: type) -> None:
    assert {field.name for field in fields(record)} == set(_core.names(record.__name__))


def test_phases() -> None:
    assert set(FIELDS) == set(_core.names("Phase"))


def test_results_are_fields_of_the_record() -> None:
    told = {field.name for field in fields(PhaseResult)} - {"name", "role", "budget"}
    assert told == set(_core.names("PhaseResult"))


def test_an_unknown_name() -> None:
    with pytest.raises(KeyError, match="Phases"):
        _core.names("Phases")
