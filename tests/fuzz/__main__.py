"""Opens damaged files until the time is over, and tells what should not have happened.

    PYTHONPATH=tests python -m fuzz --seconds 600             # what `make fuzz` does
    PYTHONPATH=tests python -m fuzz --kind gguf --num 3000
    PYTHONPATH=tests python -m fuzz --kind gguf --one 1234    # that mutant again, its traceback

Each kind runs in a child, so that a crash is one finding and not the end. A mutant is made from its
number alone. The exit code is 1 where anything was found.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import sys
import time

from fuzz.kinds import KINDS
from fuzz.worker import HANG_SECONDS, run_one, work


def fuzz(name: str, first: int, num: int, seconds: float) -> tuple[dict[str, int], dict[int, str]]:
    """Counts of outcomes, and what was found by number of the mutant."""
    counts: dict[str, int] = collections.Counter()
    found: dict[int, str] = {}
    until, number = time.monotonic() + seconds, first
    spawn = multiprocessing.get_context("spawn")
    while number < first + num and time.monotonic() < until:
        ours, theirs = spawn.Pipe(duplex=False)
        child = spawn.Process(target=work, args=(name, number, theirs), daemon=True)
        child.start()
        theirs.close()
        try:
            while number < first + num and time.monotonic() < until:
                if not ours.poll(3 * HANG_SECONDS):
                    found[number] = "hangs, and cannot be interrupted"
                    number += 1
                    break
                done, outcome = ours.recv()
                if outcome in ("opened", "refused"):
                    counts[outcome] += 1
                else:
                    found[done] = outcome
                number = done + 1
        except EOFError:
            child.join()
            found[number] = f"the process ended with {child.exitcode}"
            number += 1
        child.kill()
        child.join()
    return counts, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kind", choices=KINDS, action="append", help="default: all")
    parser.add_argument("--seconds", type=float, default=1e9, help="for all kinds together")
    parser.add_argument("--num", type=int, default=10**9, help="mutants of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--one", type=int, help="this mutant only, in this process")
    options = parser.parse_args()
    kinds = options.kind or list(KINDS)
    if options.one is not None:
        print(run_one(kinds[0], options.one))
        return 0
    total = 0
    for name in kinds:
        counts, found = fuzz(name, options.first, options.num, options.seconds / len(kinds))
        total += len(found)
        opened, refused = counts.get("opened", 0), counts.get("refused", 0)
        print(f"{name}: {opened} opened, {refused} refused, {len(found)} findings", flush=True)
        kinds_of = {text.strip().splitlines()[-1]: number for number, text in found.items()}
        for last, number in sorted(kinds_of.items(), key=lambda pair: pair[1])[:12]:
            print(f"  --kind {name} --one {number}: {last[:160]}", flush=True)
    return bool(total)


if __name__ == "__main__":
    sys.exit(main())
