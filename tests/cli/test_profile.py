"""`edgereason profile`: what is known of devices, and of this one once it was measured."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from edgereason.planning.profile import HERE, load_profile, profile_names
from support.cli_runner import Cli


def test_profiles_are_listed(cli: Cli) -> None:
    ran = cli("profile", "list")
    assert ran.code == 0
    assert all(name in ran.out for name in profile_names())
    told = cli("profile", "list", "--json").json["profiles"]
    assert sum(each["fits"] for each in told) <= 1


def test_this_machine_is_measured_and_plan_takes_that(cli: Cli) -> None:
    assert cli("plan", "nano", "--device", "here", "--ways", "no-think").code == 0
    ran = cli("profile", "measure", "nano", "--seconds", "0.1", "--force", "--json")
    assert ran.code == 0
    assert ran.json["bandwidth_gb_per_s"] > 0.5
    profile = load_profile(HERE)
    assert profile.costs[0].model == "nano"
    assert profile.costs[0].step_ms[1] > 0
    assert str(ran.json["path"]).endswith("here.toml")
    (plan,) = cli("plan", "nano", "--ways", "no-think", "--json").json["plans"]
    assert plan["p50_ms"]["source"] == "measured here"


def test_a_profile_is_written_where_it_is_wanted(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "bench" / "robot.toml"
    ran = cli("profile", "measure", "nano", "--seconds", "0.1", "--force", "--out", str(out))
    assert ran.code == 0
    assert "kept in" in ran.out
    assert "ms of a step by rows" in ran.out
    assert load_profile(str(out)).name == "robot"
    assert cli("plan", "nano", "--device", str(out), "--ways", "no-think").code == 0


def test_a_busy_machine_is_not_measured(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 70.0)
    ran = cli("profile", "measure", "nano", "--seconds", "0.1")
    assert ran.code == 2
    assert "70% of the cores are busy" in ran.err
    assert "--force" in ran.err


def test_mistakes_are_named(cli: Cli) -> None:
    ran = cli("profile", "measure", "nano", "--seconds", "0")
    assert ran.code == 2
    assert "--seconds must be above 0" in ran.err
    assert cli("profile", "measure", "no-such-model", "--force").code == 3
    assert cli("profile").code == 2
