"""The engines that a suite of this folder runs on: those of its `NAMES`, each opened once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.engine_cases import Case, open_case

if TYPE_CHECKING:
    from edgereason._core import Engine


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        params = [
            pytest.param(name, marks=pytest.mark.model if name.endswith("smollm2") else ())
            for name in metafunc.module.NAMES
        ]
        metafunc.parametrize("case", params, indirect=True, scope="module")


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name: str = request.param
    smollm2 = request.getfixturevalue("smollm2") if name.endswith("smollm2") else None
    return open_case(name, tmp_path_factory.mktemp(name), smollm2)


@pytest.fixture
def engine(case: Case) -> Engine:
    return case.open()
