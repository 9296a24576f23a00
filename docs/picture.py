"""Draws the command line at work, from runs that are made for it: `python docs/picture.py`.

Writes `cli.svg` beside this file. It needs smollm2-135m (`edgereason pull smollm2-135m`).
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMANDS = (
    'edgereason run "What is 17 * 3?" --strategy think',
    'edgereason run "What is 17 * 3?" --strategy think --think-budget 4',
    'edgereason run "Explain why ships float." --strategy think --deadline-ms 6000'
    " --answer-budget 12",
    'edgereason run -m nano "What is 47+8-23?" --strategy think',
)
COLUMNS = 100
OUT = Path(__file__).with_name("cli.svg")
_CLI = "import sys; from edgereason.cli import main; sys.exit(main(sys.argv[1:]))"


def shown(command: str) -> str:
    """What a terminal shows of it, colours included."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ["COLUMNS"] = str(COLUMNS)
        os.environ["TERM"] = "xterm-256color"
        arguments = shlex.split(command)[1:]
        os.execv(sys.executable, [sys.executable, "-c", _CLI, *arguments])
    found = b""
    try:
        while chunk := os.read(terminal, 4096):
            found += chunk
    except OSError:  # it has ended
        pass
    _, status = os.waitpid(process, 0)
    if status:
        sys.exit(found.decode())
    return found.decode().replace("\r\n", "\n")


def main() -> None:
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115  # as long as we run
    for command in COMMANDS:
        console.print(Text(f"$ {command}", style="bold"))
        console.print(Text.from_ansi(shown(command)))
    svg = console.export_svg(title="edgereason")
    # The picture loads nothing from elsewhere: whatever font is there will do.
    OUT.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL), encoding="utf-8")
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
