"""From trials to figures, and to a page that opens in a browser."""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest

from edgereason.bench.harness.frame import read_frame
from edgereason.bench.harness.trials import Store, Trial
from edgereason.bench.pareto import job
from edgereason.bench.pareto.plan import Setting
from edgereason.bench.pareto.points import Findings, points
from edgereason.bench.pareto.report import pictures, write
from edgereason.bench.pareto.wording import short
from edgereason.errors import UsageError

WAYS = {"no-think": (0.3, 100.0), "think:64": (0.6, 700.0), "think:256": (0.65, 2500.0)}
SWEEP = {
    "device": "here", "options": {"seed": 0, "temperature": 0.0, "threads": 1, "answer_tokens": 8},
    "machine": {"cpu": "a <CPU>", "num_cores": 2, "python": "3.11", "versions": {"numpy": "2"}},
    "commit": "abc", "at": "2026-01-01", "seconds": 60.0, "runs": 2, "deadlines_ms": [800.0],
    "dropped": {},
}  # fmt: skip


def trial(model: str, way: str, task: str, question: str, **changed: object) -> Trial:
    config = Setting(model, way, 8, 0.0, 1, 512).config
    made = Trial(
        suite="pareto", device="here", config=config, model=model, quant="q4", engine="llamacpp",
        way=way, answer_limit=8, temperature=0.0, threads=1, context=512, think_limit=-1, task=task,
        question=question, seed=0, answer="a", right=False, finish="stop", others_cores=0.5,
    )  # fmt: skip
    return replace(made, **changed)  # type: ignore[arg-type]  # any field


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models, three ways, two tasks of 30 questions; one of them with a name that bites."""
    drawn = random.Random(0)
    with Store.open(tmp_path, "here") as store:
        for model, times in (("small", 1.0), ("</script><b>big", 4.0)):
            for way, (share, ms) in WAYS.items():
                for task in ("sums", "words"):
                    for i in range(30):
                        took = times * ms * drawn.uniform(0.8, 1.3)
                        right = drawn.random() < share + 0.05 * times
                        tokens = {"reasoning_tokens": 10, "answer_tokens": 3, "prefill_ms": 1.0}
                        store.append(trial(
                            model, way, task, f"q{i}", right=right, total_ms=took,
                            joules=took / 100,
                            **tokens,
                        ))  # fmt: skip
    (tmp_path / "sweep-here.json").write_text(json.dumps(SWEEP))
    return tmp_path


@pytest.fixture
def findings(folder: Path) -> Findings:
    return points(read_frame(folder), [800.0])


def test_figures_are_those_of_the_trials(findings: Findings) -> None:
    assert findings.tasks == ("all", "sums", "words")
    assert len(findings.points) == 3 * 6 * 2
    (point,) = (
        p for p in findings.points
        if (p.task, p.model, p.way, p.deadline_ms) == ("sums", "small", "think:64", None)
    )  # fmt: skip
    assert point.num == 30
    assert point.median_ms is not None
    assert point.median_low is not None
    assert point.median_high is not None
    assert point.p95_ms is not None
    assert point.accuracy_low < point.accuracy < point.accuracy_high
    assert point.median_low <= point.median_ms <= point.median_high <= point.p95_ms
    assert 560 < point.median_ms < 910
    assert point.joules == pytest.approx(point.median_ms / 100, rel=0.2)
    assert point.tokens == 13
    assert "--strategy think --think-budget 64" in point.command


def test_a_deadline_makes_late_answers_wrong(findings: Findings) -> None:
    at = {
        (p.model, p.way): p for p in findings.points if p.task == "all" and p.deadline_ms == 800.0
    }
    free = {
        (p.model, p.way): p for p in findings.points if p.task == "all" and p.deadline_ms is None
    }
    assert at["small", "think:256"].accuracy == 0
    assert at["small", "think:256"].median_ms == 800
    assert at["small", "no-think"].accuracy == free["small", "no-think"].accuracy
    assert 0 < at["small", "think:64"].accuracy <= free["small", "think:64"].accuracy
    assert all(point.joules is None for point in at.values())


def test_the_frontier_and_its_steps(findings: Findings) -> None:
    on = [p for p in findings.points if p.task == "all" and p.frontier]
    on.sort(key=lambda p: p.median_ms or 0)
    assert on[0].way == "no-think"
    rising = [point.accuracy for point in on]
    assert rising == sorted(set(rising))
    steps = [step for step in findings.steps if step.task == "all"]
    assert [(s.cheaper, s.dearer) for s in steps] == list(itertools.pairwise(on))
    assert all(step.p_holm >= step.difference.p for step in steps)
    assert findings.hypervolumes["all"] > 0
    for point in on:
        assert point.on_time is not None
        assert 0 < point.on_time <= 1


def test_smaller_votes_get_their_time_from_the_checks(tmp_path: Path) -> None:
    big, small = "vote:8:early_stop=false", "vote:2:early_stop=false"
    with Store.open(tmp_path, "here") as store:
        for i in range(10):
            store.append(trial("m", big, "t", f"q{i}", total_ms=1000.0 + i, right=True))
            made = trial("m", small, "t", f"q{i}", source="read off", of=big, right=i < 8)
            store.append(made)
            if i < 3:
                run = replace(
                    made, config=f"{made.config}-check", source="run", of="", total_ms=400.0,
                    answer="a" if i else "b",
                )  # fmt: skip
                store.append(run)
    found = points(read_frame(tmp_path))
    by_way = {point.way: point for point in found.points}
    assert by_way[small].median_ms == pytest.approx(400, rel=0.01)
    assert by_way[small].source == "read off"
    assert (found.checks.num, found.checks.same_answer, found.checks.same_right) == (3, 2, 3)
    assert found.checks.ratios == ()  # their time is not known without the checks
    assert (found.num_trials, found.num_read_off) == (23, 10)


def test_settings_with_few_questions_are_left_out_and_said(tmp_path: Path) -> None:
    with Store.open(tmp_path, "here") as store:
        for i in range(10):
            store.append(trial("m", "think", "t", f"q{i}", total_ms=10.0))
            if i < 4:
                store.append(trial("m", "bare", "t", f"q{i}", total_ms=5.0))
            if i < 9:
                store.append(trial("m", "no-think", "t", f"q{i}", total_ms=7.0))
    found = {p.way: p for p in points(read_frame(tmp_path)).points}
    assert (found["bare"].num, found["bare"].note) == (4, "too few of the questions")
    assert found["bare"].median_ms is None
    assert (found["think"].num, found["no-think"].num) == (9, 9)
    why, config = "beaten after 9 questions", found["no-think"].config
    elsewhere = points(read_frame(tmp_path), dropped={(config, "there"): why}).points
    assert [(p.num, p.note) for p in elsewhere if p.way == "no-think"] == [(9, "")]
    again = {p.way: p for p in points(read_frame(tmp_path), dropped={(config, "here"): why}).points}
    assert again["no-think"].note == "beaten after 9 questions"
    assert again["think"].num == 10


def test_all_files_are_written_and_hold_the_same(folder: Path, findings: Findings) -> None:
    write(folder, findings, [SWEEP])
    with (folder / "points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(findings.points)
    assert float(rows[0]["accuracy"]) == findings.points[0].accuracy
    told = (folder / "report.md").read_text()
    assert "![All tasks](all.svg)" in told
    assert "other programs kept 0.50 cores busy" in told
    assert "## words" in told
    for name in ("all", "all-energy", "all-within", "sums", "words-within"):
        assert (folder / f"{name}.svg").is_file()


def test_pictures_are_svg_with_a_label_for_the_frontier(findings: Findings) -> None:
    for svg in pictures(findings).values():
        ET.fromstring(svg)
    labels = re.findall(r'class="label"[^>]*>([^<]*)<', pictures(findings)["all"])
    on = [p for p in findings.points if p.task == "all" and p.frontier]
    names = {escape(f"{short(p.model)} {p.label}") for p in on}
    assert set(labels) <= names
    assert labels


def test_the_page_asks_no_host_and_no_name_gets_out_of_it(folder: Path, findings: Findings) -> None:
    write(folder, findings, [SWEEP])
    page = (folder / "report.html").read_text()
    outside = set(re.findall(r"https?://[^\"'\s<]+", page))
    assert outside == {"http://www.w3.org/2000/svg"}  # a name, which nobody asks for
    assert "<b>big" not in page
    assert page.count("</script>") == 1
    assert "a &lt;CPU&gt;" in page
    assert len(page) < 300_000


def test_a_report_needs_trials(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trials in"):
        job.report_of(tmp_path)


# --- in a browser ---------------------------------------------------------------------------------

NAMES = ("chromium", "chromium-headless-shell")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), "")


@pytest.mark.slow
def test_the_page_works_in_a_browser(folder: Path, findings: Findings) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = os.environ.get("EDGEREASON_TEST_CHROMIUM") or CHROMIUM
    if not chromium:
        pytest.skip("no chromium; EDGEREASON_TEST_CHROMIUM may name one")
    write(folder, findings, [SWEEP])
    problems: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 1400})
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url))
        page.goto((folder / "report.html").as_uri())
        visible = page.locator("figure:visible")
        assert visible.count() == 1
        assert visible.first.locator(".point:visible").count() == 12
        visible.first.locator(".point path").last.hover()
        assert "edgereason run -m" in page.locator("#tip").inner_text()
        page.get_by_label("with deadlines").uncheck()
        assert visible.first.locator(".point:visible").count() == 6
        page.get_by_label("small").uncheck()
        assert visible.first.locator(".point:visible").count() == 3
        assert page.locator("#table tbody tr:visible").count() == 3
        page.locator("select[name=way]").select_option("think:64")
        assert page.locator("#table tbody tr:visible").count() == 1
        page.locator("select[name=way]").select_option("")
        page.locator("select[name=task]").select_option("words")
        page.locator("select[name=axis]").select_option("energy")
        assert visible.first.get_attribute("data-axis") == "energy"
        page.get_by_role("button", name="tokens").click()
        page.screenshot(path=str(folder / "page.png"), full_page=True)
        browser.close()
    assert problems == [(folder / "report.html").as_uri()]  # the page itself, and nothing else
