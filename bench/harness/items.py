"""The questions of a task, whatever kind of task it is:

    chain                    a file in bench/tasks that deals its problems out itself
    svamp                    one that says where its data come from, and how to read them
    mine.jsonl               a file of yours: {"question": ..., "answer": ..., "checker": "number"}
    reasoning-gym:sudoku     one of the package reasoning-gym

Data are fetched when first asked for and kept in the cache; `NAME.jsonl` in the folder of `--data`
stands for them. The same seed gives the same questions.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from edgereason import files
from edgereason.config import build, cache_dir, unknown
from edgereason.errors import DownloadError, UsageError
from edgereason.registry import load, names

from ..tasks.base import Item, Source

_TASKS: Final = "edgereason.bench.tasks"
_CHECKERS: Final = "edgereason.bench.checkers"
_GYM: Final = "reasoning-gym:"
_DEFAULT_CHECKER: Final = "number"
_MOST_BYTES: Final = 1 << 28
_TIMEOUT_S: Final = 60


def items(task: str, num: int, seed: int, data: Path | None = None) -> list[Item]:
    """`num` questions of a task (0: all there are), drawn with the seed; of a file in its order
    where it has no more.

    Raises:
        UsageError: there is no such task, or its file is not one.
        DownloadError: its data are not here and cannot be fetched.
        UnsupportedError: a package that its checker needs is missing.
    """
    found = _all(task, num, seed, data)
    if not found:
        raise UsageError(f"task {task!r} has no questions")
    for name in {item.checker for item in found}:
        ready = getattr(checker(name), "ready", None)
        if ready is not None:
            ready()
    if num and num < len(found):
        chosen = sorted(random.Random(f"items:{seed}:{task}").sample(range(len(found)), num))
        found = [found[i] for i in chosen]
    return found


def label(task: str) -> str:
    """What tables call a task: a file by its name without the folder."""
    return Path(task).stem if _is_file(task) else task


def checker(name: str) -> ModuleType:
    """The module that checks answers of that kind. Raises `UsageError` on an unknown name."""
    return load(_CHECKERS, name)


def asked(item: Item) -> str:
    """The question as the model gets it."""
    ask = getattr(checker(item.checker), "ask", None)
    text: str = item.question if ask is None else ask(item)
    return text


def is_right(item: Item, text: str) -> bool:
    right: bool = checker(item.checker).check(item, text)
    return right


def _is_file(task: str) -> bool:
    return task.endswith(".jsonl") or os.sep in task


def _all(task: str, num: int, seed: int, data: Path | None) -> list[Item]:
    if _is_file(task):
        return list(rows(Path(task)))
    if task.startswith(_GYM):
        from ..checkers import reasoning_gym

        return reasoning_gym.deal(task.removeprefix(_GYM), num or 100, seed)
    if data is not None and (prepared := data / f"{task.replace('-', '_')}.jsonl").is_file():
        return list(rows(prepared))
    if task.replace("_", "-") not in names(_TASKS):
        raise unknown("no task called", task, names(_TASKS))
    module = load(_TASKS, task)
    if hasattr(module, "generate"):
        return _dealt(module, task, num or 100, seed)
    found: list[Item] = list(module.items(fetched(task, module.SOURCE)))
    return found


def _dealt(module: ModuleType, task: str, num: int, seed: int) -> list[Item]:
    generator = random.Random(f"items:{seed}:{task}")
    found: dict[str, Item] = {}
    while len(found) < num:
        problem = module.generate(generator, "test")
        name = hashlib.sha256(problem.question.encode()).hexdigest()[:12]
        found[name] = Item(name, problem.question, problem.answer, "problem", (), {"task": task})
    return list(found.values())


# --- files ----------------------------------------------------------------------------------------


def rows(path: Path) -> Iterator[Item]:
    """The questions of a file with one JSON object a line; keys that no `Item` has are left."""
    text = files.read_given(path, "task ")
    seen: set[str] = set()
    databases = _databases(path)
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            item = _row(line, f"{path}, line {number}", f"{path.stem}-{number}")
            if (name := item.extra.get("db", "")) in databases:
                item = replace(item, extra={**item.extra, "database": databases[name]})
            if item.id in seen:
                raise UsageError(f"{path}, line {number}: the id {item.id!r} is there twice")
            seen.add(item.id)
            yield item


def _databases(path: Path) -> Mapping[str, str]:
    """By name, as SQL text, from `NAME.databases.json` beside `NAME.jsonl`, where that is."""
    beside = path.with_suffix(".databases.json")
    found: Mapping[str, str] = json.loads(beside.read_text("utf-8")) if beside.is_file() else {}
    return found


def _row(line: str, where: str, name: str) -> Item:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or not {"question", "answer"} <= record.keys():
        raise UsageError(
            f"{where}: not a question",
            'a line is {"question": ..., "answer": ..., "checker": "number"}',
        )
    known: dict[str, Any] = {key: record[key] for key in Item.__slots__ if key in record}
    known["answer"] = str(known["answer"])
    if "####" in known["answer"]:  # as in GSM8K, behind the way to it
        known["answer"] = known["answer"].rpartition("####")[2].strip()
    known = {"id": name, "checker": _DEFAULT_CHECKER} | known
    if not isinstance(known["checker"], str):
        raise UsageError(f"{where}: checker must be text, got {known['checker']!r}")
    if known["checker"].replace("_", "-") not in names(_CHECKERS):
        raise unknown(f"{where}: no checker called", known["checker"], names(_CHECKERS))
    item = build(Item, known, what="key", where=where)
    if item.checker == "choice" and item.answer not in item.choices:
        raise UsageError(f"{where}: the answer {item.answer!r} is not among the choices")
    return item


# --- data of others -------------------------------------------------------------------------------


def fetched(task: str, source: Source) -> list[Path]:
    """The files of a source, from the cache or from where they were published."""
    folder = cache_dir() / "tasks" / task.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, url in enumerate(source.urls):
        path = folder / f"{number}-{url.rpartition('/')[2]}"
        if not path.is_file():
            _fetch(url, path, task, source)
        if source.sha256:
            _check(path, source.sha256[number])
        paths.append(path)
    return paths


def _fetch(url: str, path: Path, task: str, source: Source) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            content = answer.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # urllib's own errors are of the first kind
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise DownloadError(
            f"cannot fetch the data of task {task} ({source.licence}): {error}",
            f"put what {url} holds into {path}, or give --data a folder with {task}.jsonl",
        ) from None
    if len(content) > _MOST_BYTES:
        raise DownloadError(f"{url} has more than {_MOST_BYTES >> 20} MiB")
    with files.replacing(path) as file:
        file.write(content)


def _check(path: Path, sha256: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        path.unlink()
        raise DownloadError(
            f"what arrived is not {path.name}: its sha256 is {found}, expected {sha256}",
            "try again; if it stays so, somebody serves another file",
        )
