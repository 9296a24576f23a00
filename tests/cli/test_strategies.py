"""`edgereason strategies`."""

from __future__ import annotations

from support.cli_runner import Cli


def test_strategies_come_from_their_files(cli: Cli) -> None:
    ran = cli("strategies")
    assert "budget-forcing: Budget forcing (s1)" in ran.out
    assert "    --set samples=8  chains of thought (int)\n" in ran.out
    found = {item["name"]: item for item in cli("strategies", "--json").json["strategies"]}
    assert found["vote"]["needs"] == ["logits", "fork"]
    assert found["no-think"]["options"] == []
