"""Questions of tasks: files of users, tasks that deal themselves, data that are fetched."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgereason.bench.harness import items as items_
from edgereason.bench.harness.items import fetched, is_right, items, label, rows
from edgereason.bench.tasks.base import Source
from edgereason.errors import DownloadError, UsageError


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_file_of_a_user_is_a_task(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.jsonl",
        {"question": "1 + 1?", "answer": "#### 2"},
        {"question": "Up?", "answer": "yes", "checker": "yes_no", "id": "up", "other": 1},
        {"question": "Which?", "answer": "b", "checker": "choice", "choices": ["a", "b"]},
        {"question": "3?", "answer": 3},
    )
    found = items(str(path), 0, 0)
    assert [each.id for each in found] == ["mine-1", "up", "mine-3", "mine-4"]
    assert [each.checker for each in found] == ["number", "yes_no", "choice", "number"]
    assert is_right(found[0], "It is 2.")
    assert is_right(found[3], "3.0")
    assert label(str(path)) == "mine"


def test_the_same_seed_draws_the_same_questions(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", *({"question": f"{i}?", "answer": i} for i in range(50)))
    first = items(str(path), 10, 0)
    assert first == items(str(path), 10, 0)
    assert first != items(str(path), 10, 1)
    assert len(items(str(path), 99, 0)) == 50


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "a"}', "line 2: not a question"),
        ("[1]", "line 2: not a question"),
        ("{", "line 2: not a question"),
        ('{"question": "a", "answer": "b", "checker": "nunber"}', "did you mean 'number'"),
        ('{"question": "a", "answer": "b", "checker": 5}', "checker must be text"),
        ('{"question": 5, "answer": "b"}', "question must be text"),
        ('{"question": "a", "answer": "b", "checker": "choice"}', "not among the choices"),
        ('{"question": "a", "answer": "b", "id": "first"}', "'first' is there twice"),
    ],
)
def test_a_wrong_line_is_refused_with_its_place(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"question": "a", "answer": "1", "id": "first"}\n' + line + "\n")
    with pytest.raises(UsageError, match=message):
        list(rows(path))


def test_a_task_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no task called 'chian'.*did you mean 'chain'"):
        items("chian", 3, 0)
    with pytest.raises(UsageError, match="cannot read task"):
        items(str(tmp_path / "none.jsonl"), 3, 0)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UsageError, match="has no questions"):
        items(str(tmp_path / "empty.jsonl"), 3, 0)


def test_a_task_of_our_own_deals_from_its_test_split() -> None:
    found = items("chain", 5, 0)
    assert len({each.id for each in found}) == 5
    assert all(is_right(each, f"so {each.answer}") for each in found)
    assert not any(is_right(each, f"{each.answer}1") for each in found)
    assert found == items("chain", 5, 0)
    assert found != items("chain", 5, 1)


def test_a_prepared_file_stands_for_the_data_of_a_task(tmp_path: Path) -> None:
    write(tmp_path / "gsm8k.jsonl", {"question": "1 + 1?", "answer": "2"})
    assert [each.question for each in items("gsm8k", 0, 0, tmp_path)] == ["1 + 1?"]


# --- fetching -------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder that a server gives away, its address; and a cache of our own."""
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Nothing."""

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_data_are_fetched_once_and_compared_with_their_hash(served: tuple[Path, str]) -> None:
    folder, host = served
    write(folder / "a.json", {"a": 1})
    right = hashlib.sha256((folder / "a.json").read_bytes()).hexdigest()
    source = Source((f"{host}/a.json",), "MIT", (right,))
    (path,) = fetched("t", source)
    assert json.loads(path.read_text()) == {"a": 1}
    (folder / "a.json").unlink()
    assert fetched("t", source) == [path]
    with pytest.raises(DownloadError, match="what arrived is not"):
        fetched("t", replace(source, sha256=("0" * 64,)))
    assert not path.exists()


def test_data_that_cannot_be_had_say_where_they_go(served: tuple[Path, str]) -> None:
    _, host = served
    with pytest.raises(DownloadError, match=r"cannot fetch the data of task t \(MIT\)") as caught:
        fetched("t", Source((f"{host}/none.json",), "MIT"))
    assert "--data" in caught.value.hint
    assert "0-none.json" in caught.value.hint


def test_every_task_of_ours_deals_or_says_where_its_data_come_from() -> None:
    from edgereason.registry import load, names

    for name in names(items_._TASKS):
        module = load(items_._TASKS, name)
        assert module.__doc__
        if hasattr(module, "generate"):
            continue
        source = module.SOURCE
        assert source.licence
        assert all(url.startswith("https://") for url in source.urls)
        assert len(source.sha256) in (0, len(source.urls))
        assert callable(module.items)
