"""What all tests share."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from edgereason.errors import ModelNotFoundError
from edgereason.models import hub
from edgereason.models.bundle import model_file, open_bundle
from support.cli_runner import cli  # noqa: F401 (a fixture)

# Started as a background job the suite would ignore Ctrl-C, and so would every child it interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _nothing_measured(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    """What one test measures of a model is unknown to the next."""
    monkeypatch.setenv("EDGEREASON_MEASURED", str(tmp_path_factory.getbasetemp() / "measured"))
    shutil.rmtree(tmp_path_factory.getbasetemp() / "measured", ignore_errors=True)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The GGUF of SmolLM2-135M-Instruct: `EDGEREASON_TEST_MODEL`, or what was pulled."""
    named = os.environ.get("EDGEREASON_TEST_MODEL")
    if named:
        return Path(named)
    try:
        return model_file(open_bundle(hub.resolve("smollm2-135m")))
    except ModelNotFoundError as error:
        pytest.skip(str(error))
