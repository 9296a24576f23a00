"""`python -m edgereason` is `edgereason`."""

from __future__ import annotations

import sys

from edgereason.cli import main

if __name__ == "__main__":
    sys.exit(main())
