"""`edgereason strategies`."""

from __future__ import annotations

from support.cli_runner import Cli
from support.places import ROOT


def test_strategies_come_from_their_files(cli: Cli) -> None:
    ran = cli("strategies")
    for column in ("way", "what it does", "cost", "needs", "measured"):
        assert column in ran.out.splitlines()[0]
    assert "budget-forcing" in ran.out
    found = {item["name"]: item for item in cli("strategies", "--json").json["strategies"]}
    assert found["vote"]["needs"] == ["logits", "fork"]
    assert found["no-think"]["options"] == []


def test_every_way_says_what_it_costs_and_where_it_was_measured() -> None:
    from edgereason import strategies
    from edgereason.cli.strategies import described
    from edgereason.registry import names

    for name in names(strategies):
        told = described(name)
        assert told["about"], name
        assert told["cost"], f"{name}: its docstring has no line 'Cost: ...'"
        assert told["measured"], f"{name}: its docstring has no line 'Measured: ...'"


def test_one_way_shows_all_of_it(cli: Cli) -> None:
    ran = cli("strategies", "vote")
    assert "https://arxiv.org/abs/2203.11171" in ran.out
    assert "needs: logits, fork" in ran.out
    assert "    --set samples=8  chains of thought (int)\n" in ran.out
    assert cli("strategies", "vtoe").code == 2


def test_the_page_of_ways_has_the_table_as_it_is() -> None:
    from edgereason import strategies
    from edgereason.cli.strategies import as_markdown, described
    from edgereason.registry import names

    page = (ROOT / "docs" / "ways.md").read_text(encoding="utf-8")
    table = page.partition("<!-- edgereason strategies --markdown -->\n")[2].partition("\n\n")[0]
    assert table.splitlines() == as_markdown([described(name) for name in names(strategies)])
