"""The bench of JSON schemas, on the scripted model."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from edgereason.bench.suites import schemas
from support.places import SCRIPTED

pytest.importorskip("llguidance")
pytest.importorskip("jsonschema")

SCHEMAS = [
    {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    {"type": "array", "items": {"type": "string"}},
    {"not": {}},
]


def test_judged() -> None:
    assert schemas.judged('{"n": 1}', SCHEMAS[0]) == (True, True)
    assert schemas.judged('{"n": "1"}', SCHEMAS[0]) == (True, False)
    assert schemas.judged('{"n": ', SCHEMAS[0]) == (False, False)


def test_what_cannot_parse_or_validate_is_told() -> None:
    case = schemas.Case("x", "?", SCHEMAS[0], schemas.Grammar.json(SCHEMAS[0]), num_least=5)
    share = schemas.Share()
    for text, budget in (('{"n": 1}', 9), ("{}", 4), ("{}", 9), ("{", 4)):
        share.add(case, budget, text)
    assert (share.num, share.parse, share.validate) == (4, 3, 1)
    assert (share.long_enough, share.valid_where_long) == (2, 1)
    assert share.wrong == ["x, 9 tokens: {}", "x, 4 tokens: {"]


def test_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "schemas.jsonl"
    rows = [
        {"id": str(i), "question": "What?", "extra": {"schema": schema}}
        for i, schema in enumerate(SCHEMAS)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    options = Namespace(
        model=SCRIPTED,
        context=4096,
        threads=1,
        schemas=file,
        num=0,
        budgets=[1, 30],
        strategy="no-think",
        think_budget=8,
        rival=False,
        llama_server=None,
    )
    found = schemas.measure(options, lambda text: None)
    for budget in (1, 30):
        assert found.figures["by_budget"][budget]["parse"] == 2
        assert found.figures["by_budget"][budget]["wrong"] == []
    assert list(found.figures["refused"]) == ["2"]
    assert found.figures["mask_us"]["num"] > 0
    assert found.figures["forced"] > 0
