"""Answers of a given form on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.cli_runner import QUESTION, THOUGHT, Cli

pytest.importorskip("llguidance")

SCHEMA = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'


def test_a_schema_as_text_and_in_a_file(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(SCHEMA)
    for given in (SCHEMA, str(file)):
        ran = cli("run", QUESTION, "--strategy", "think", "--json-schema", given)
        assert ran.code == 0
        assert isinstance(json.loads(ran.out)["n"], int)
        assert ran.err.splitlines()[0] == THOUGHT


def test_other_forms(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "form.gbnf"
    file.write_text('root ::= "ab" | "cd"')
    for options, texts in (
        (("--choice", "left", "--choice", "right"), ("left", "right")),
        (("--regex", "[0-9]{3}"), None),
        (("--grammar", 'root ::= "ab" | "cd"'), ("ab", "cd")),
        (("--grammar", 'start: "ab" | "cd"'), ("ab", "cd")),
        (("--grammar", str(file)), ("ab", "cd")),
    ):
        ran = cli("run", QUESTION, "--quiet", *options)
        assert ran.code == 0
        said = ran.out.strip()
        assert said in texts if texts else len(said) == 3 and said.isdigit()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--json-schema", "{"), "the JSON schema is not JSON"),
        (("--json-schema", "missing.json"), "cannot read missing.json"),
        (("--json-schema", '{"not": {}}'), "the JSON schema is not taken"),
        (("--choice", "a", "--regex", "b"), "--choice and --regex are given"),
        (("--regex", "["), "the regular expression is not taken"),
        (("--choice", "a", "--stop", "b"), "not at a stop text"),
        (("--choice", "a", "--strategy", "program"), "program takes no grammar"),
    ],
)
def test_what_is_wrong_is_said(cli: Cli, options: tuple[str, ...], message: str) -> None:
    ran = cli("run", QUESTION, *options)
    assert ran.code == 2
    assert message in ran.err
