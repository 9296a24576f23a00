"""`python -m edgereason.bench NAME ...` runs one suite; without a name it lists them."""

from __future__ import annotations

import sys

from edgereason.errors import UsageError
from edgereason.registry import load, names

from .harness.runner import run

SUITES = "edgereason.bench.suites"


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m edgereason.bench NAME [OPTIONS]\n\n{_listed()}")
        return 0
    try:
        bench = load(SUITES, argv[0]).BENCH
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return run(bench, argv[1:])


def _listed() -> str:
    suites = {name: load(SUITES, name).BENCH for name in names(SUITES)}
    return "\n".join(f"  {name:16} {bench.about}" for name, bench in suites.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
