"""Where things lie in the checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTED = str(ROOT / "examples" / "scripted")  # a bundle that needs no model
SHARED = ROOT.parent / "shared"  # data that lie beside some checkouts: skip where they do not
