"""Plug-ins found by the names of their files."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from edgereason import registry
from edgereason.errors import UsageError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "plugged" / "strategies"
    folder.mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "base": "",
        "_private": "",
        "no_think": "needs = 1",
        "vote": "needs = 2",
        "broken": "import a_module_that_is_not_there",
    }.items():
        (folder / f"{name}.py").write_text(text)
    (folder.parent / "__init__.py").write_text("")
    (folder / "graph").mkdir()
    (folder / "graph" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    return "plugged.strategies"


def test_names_are_files_without_base_and_private_ones(package: str) -> None:
    assert registry.names(package) == ["broken", "no-think", "vote"]
    assert registry.names(importlib.import_module(package)) == ["broken", "no-think", "vote"]
    assert registry.groups(package) == ["graph"]


def test_dash_and_underscore_are_one(package: str) -> None:
    assert registry.load(package, "no-think").needs == 1
    assert registry.load(package, "no_think") is registry.load(package, "no-think")
    assert registry.load(importlib.import_module(package), "vote").needs == 2


@pytest.mark.parametrize("name", ["votes", "base", "_private", "", "os", "..vote", "vote.x"])
def test_a_wrong_name_imports_nothing(package: str, name: str) -> None:
    with pytest.raises(UsageError, match="no strategy called") as raised:
        registry.load(package, name)
    assert "known: broken, no-think, vote" in raised.value.hint


def test_a_near_miss_is_named(package: str) -> None:
    with pytest.raises(UsageError) as raised:
        registry.load(package, "no-tink")
    assert raised.value.hint.startswith("did you mean 'no-think'?")


def test_a_broken_plugin_shows_its_own_error(package: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        registry.load(package, "broken")
