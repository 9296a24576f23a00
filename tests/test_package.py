"""What `import edgereason` gives, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edgereason


def test_import_loads_no_engine_and_no_heavy_library() -> None:
    code = (
        "import sys, edgereason;"
        "heavy = {'edgereason._core', 'numpy', 'llama_cpp', 'jinja2', 'typer', 'rich'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_public_names_resolve() -> None:
    for name in edgereason.__all__:
        assert getattr(edgereason, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Reasonar'"):
        _ = edgereason.Reasonar  # type: ignore[attr-defined]  # that is the point
