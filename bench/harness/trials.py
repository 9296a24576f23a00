"""Trials: one question, one way of asking, what came of it. One JSON line each, for all suites.

    with Store.open(folder, device) as store:
        if (key := key_of(...)) not in store: store.append(trial)

A line is written with one call and is on the disk when `append` returns. A run that was killed
leaves at most one torn line, at the end: the next one cuts it off, says so, and asks that again.
Needs the standard library only, so that a small device can write what a large one reads.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, TypeAlias

from edgereason.errors import UsageError

Source: TypeAlias = Literal["run", "read off"]
Key: TypeAlias = tuple[str, str, str, int, str]

_PATTERN: Final = "trials*.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One question, asked in one way. Times are milliseconds, None where nothing measured them.

    Attributes:
        config: hash of all that settles the way of asking; see `Setting.config` in bench/pareto.
        think_limit: thinking tokens of ways that name no budget; -1 no limit.
        question: id of the question in its task.
        source: `read off` where another trial's tokens say what would have come out.
        of: the way of that other trial.
        first_token_ms: from the request to its first text, thoughts included.
        late: None where there was no deadline.
        joules: None where no meter was there; never 0 for that.
        peak_cells: KV cells that one line of thought held at most.
        rss_mib: of this process after the answer.
        others_cores: cores that other programs kept busy meanwhile.
    """

    suite: str
    device: str
    config: str
    model: str
    quant: str
    engine: str
    way: str
    answer_limit: int
    temperature: float
    threads: int
    context: int
    think_limit: int
    task: str
    question: str
    seed: int
    answer: str
    right: bool
    finish: str
    source: Source = "run"
    of: str = ""
    prompt_tokens: int = 0
    reasoning_tokens: int = 0
    latent_tokens: int = 0
    answer_tokens: int = 0
    queue_ms: float | None = None
    prefill_ms: float | None = None
    think_ms: float | None = None
    answer_ms: float | None = None
    total_ms: float | None = None
    first_token_ms: float | None = None
    deadline_ms: float | None = None
    late: bool | None = None
    joules: float | None = None
    peak_cells: int = 0
    rss_mib: float | None = None
    others_cores: float | None = None
    at: str = ""
    commit: str = ""

    @property
    def key(self) -> Key:
        """Two trials with the same key are the same measurement; the first one counts."""
        return self.config, self.task, self.question, self.seed, self.device


_KEY: Final = ("config", "task", "question", "seed", "device")


class Store:
    """The trials of one folder, and one file of it to append to: `trials-DEVICE.jsonl`.

    One process writes a file: a second one is refused. Attribute `torn`: bytes of a line that a
    killed run had left, and that were cut off.
    """

    def __init__(self, path: Path, file: int, torn: int, keys: set[Key]) -> None:
        self.path = path
        self.torn = torn
        self._file = file
        self._keys = keys

    @classmethod
    def open(cls, folder: Path, device: str) -> Store:
        """Raises `UsageError` where another process writes this file, or a line is no trial."""
        if not device or any(char in device for char in "/\\\0"):
            raise UsageError(f"a device is a name, got {device!r}", "such as jetson-1")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"trials-{device}.jsonl"
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            torn = _cut_torn_line(file)
            return cls(path, file, torn, {_key(each) for each in lines(folder)})
        except BlockingIOError:
            os.close(file)
            raise UsageError(
                f"another run writes {path}", "wait for it, or give another --device"
            ) from None
        except BaseException:
            os.close(file)
            raise

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def append(self, trial: Trial) -> None:
        """Writes one line and waits until the disk has it; what is there already is left alone."""
        if trial.key in self._keys:
            return
        line = json.dumps(asdict(trial), ensure_ascii=False, allow_nan=False) + "\n"
        data = line.encode("utf-8", "replace")
        written = os.write(self._file, data)
        if written != len(data):  # a full disk; the torn line is cut off by the next run
            raise OSError(f"only {written} of {len(data)} bytes of a trial fit on the disk")
        os.fsync(self._file)
        self._keys.add(trial.key)

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def lines(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The trials of all files of a folder, as they are written there, in order of the files.

    A torn last line is left out: a run may be writing it. Raises `UsageError` on any other line
    that is no trial.
    """
    for path in sorted(folder.glob(_PATTERN)):
        whole = path.read_bytes().rpartition(b"\n")[0]
        for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
            try:
                record = json.loads(line)
                Trial(**record)
            except (ValueError, TypeError):
                raise UsageError(
                    f"{path}, line {number}: not a trial", "move the file away, or delete the line"
                ) from None
            yield record


def read(folder: Path) -> list[Trial]:
    """All trials of a folder; of two with the same key the first."""
    found: dict[Key, Trial] = {}
    for record in lines(folder):
        trial = Trial(**record)
        found.setdefault(trial.key, trial)
    return list(found.values())


def _key(record: Mapping[str, Any]) -> Key:
    config, task, question, seed, device = (record[name] for name in _KEY)
    return config, task, question, seed, device


def _cut_torn_line(file: int) -> int:
    """Cuts the file back to its last whole line. Returns how many bytes that took."""
    size = os.fstat(file).st_size
    end = size
    while end > 0:
        start = max(0, end - 65536)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)
    return size - end
