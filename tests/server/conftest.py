"""One server for the tests of a module: the scripted model and nano."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from support.places import SCRIPTED
from support.served import Served, served


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(SCRIPTED, "nano") as running:
        yield running
