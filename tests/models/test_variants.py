"""The variant section: read, refused, and kept by bare files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edgereason.errors import BundleError, UsageError
from edgereason.models.bundle import MANIFEST, open_bundle, write_bundle
from edgereason.models.variants import (
    Variant,
    coconut,
    from_text,
    infty_think,
    read_variant,
    to_text,
)
from support.cli_runner import Cli
from support.gguf_files import metadata, write_gguf

INFTY = infty_think.Variant(round_tokens=96, summary_tokens=24)


@pytest.mark.parametrize("variant", [coconut.Variant(), coconut.Variant(latents=0, mark=""), INFTY])
def test_a_variant_survives_text(variant: Variant) -> None:
    assert from_text(to_text(variant)) == variant
    assert read_variant(asdict(variant)) == variant


def test_nothing_said_is_a_plain_model() -> None:
    assert read_variant(None) is None
    assert read_variant({"kind": "base"}) is None
    assert from_text("") is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("coconut", "variant must be a table, got 'coconut'"),
        ({}, "unknown variant ''"),
        ({"kind": "coconuts"}, "unknown variant 'coconuts'"),
        ({"kind": "coconut", "latent": 3}, "unknown key 'variant.latent'"),
        ({"kind": "coconut", "latents": "many"}, "variant.latents must be a whole number"),
        ({"kind": "coconut", "latents": -1}, "latents must be 0 or more, got -1"),
        ({"kind": "infty_think", "round_tokens": 9}, "key variant.summary_tokens must be given"),
        (asdict(INFTY) | {"round_tokens": 0}, "round_tokens must be 1 or more, got 0"),
        (asdict(INFTY) | {"history": "so far"}, "history must hold {summary} once"),
        (asdict(INFTY) | {"shut": ""}, "shut must not be empty"),
    ],
)
def test_wrong_values_are_refused(data: Any, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_variant(data)
    assert message in str(raised.value)


def test_a_model_that_was_pulled_before_there_were_variants_still_opens(tmp_path: Path) -> None:
    write_bundle(open_bundle(write_gguf(tmp_path / "a.gguf", metadata())), tmp_path)
    manifest = tmp_path / MANIFEST
    early = {"variant": "", "variant_options": {}}
    manifest.write_text(json.dumps(json.loads(manifest.read_text("utf-8")) | early))
    assert open_bundle(tmp_path).variant is None


def test_a_bare_file_keeps_it(cli: Cli, tmp_path: Path) -> None:
    told = metadata(edgereason__variant=to_text(coconut.Variant(latents=4)))
    path = write_gguf(tmp_path / "a.gguf", told)
    assert open_bundle(path).variant == coconut.Variant(latents=4)
    shown = cli("show", str(path)).out
    assert "coconut (latents 4, " in shown
    assert "--strategy coconut" in shown
    assert cli("show", str(path), "--json").json["variant"]["latents"] == 4
    for text, message in (("{", "is not JSON"), ('{"kind": "x"}', "unknown variant 'x'")):
        wrong = write_gguf(tmp_path / "b.gguf", metadata(edgereason__variant=text))
        with pytest.raises(BundleError, match=rf"b.gguf: .*{message}"):
            open_bundle(wrong)
