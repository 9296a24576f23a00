"""The tests of llama.cpp's own server, asked of ours. They are not in this repository: unpack the
source of llama-cpp-python and name the folder.

    pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36 && tar xzf llama_cpp_python-*
    pip install filelock requests wget
    export EDGEREASON_LLAMA_CPP=llama_cpp_python-0.3.36/vendor/llama.cpp
    pytest tests/server/test_llama_cpp.py

`support/llama_cpp_plugin.py` says which are expected to fail, and why.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from support.places import ROOT

FILES: Final = (
    "tokenize",
    "security",
    "template",
    "tool_call",
    "compat_oai_responses",
    "compat_anthropic",
    "completion",
    "chat_completion",
    "basic",
    "ctx_shift",
    "ignore_eos",
)
SUPPORT: Final = ROOT / "tests" / "support"


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", FILES)
def test_what_llamas_server_is_tested_with(name: str) -> None:
    source = os.environ.get("EDGEREASON_LLAMA_CPP")
    if not source:
        pytest.skip("EDGEREASON_LLAMA_CPP does not name a source of llama.cpp")
    lacking = [each for each in ("filelock", "requests", "wget") if find_spec(each) is None]
    if lacking:
        pytest.skip(f"their tests need {', '.join(lacking)}")
    folder = Path(source).resolve() / "tools" / "server" / "tests"
    command = [sys.executable, "-m", "pytest", "-p", "llama_cpp_plugin", "-p", "no:cacheprovider"]
    more = {
        "LLAMA_SERVER_BIN_PATH": str(SUPPORT / "llama_server_shim.py"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PORT": "18090",
        "PYTHONPATH": str(SUPPORT),
    }
    done = subprocess.run(
        [*command, "-q", "-m", "not slow", f"unit/test_{name}.py"],
        cwd=folder,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-4000:])
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
