"""A model whose template does not tell how it thinks is asked, and is known from then on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import edgereason
from bench.harness.problems import problems
from edgereason import Reasoner
from edgereason.models.bundle import THINKERS, Bundle, open_bundle
from edgereason.planning import asked, measured
from edgereason.prompt.reasoning import PLAIN, UNCLEAR, Kind
from edgereason.records import Sampling
from edgereason.runtime.asking import QUESTIONS, ask
from support.chat_templates import CHATML
from support.cli_runner import Cli
from support.scripted_models import opened

NANO = Path(edgereason.__file__).parent / "models" / "nano"
THOUGHT, ANSWER = "It is easy.", "Four."
DROPS = CHATML.replace("message['content']", "message['content'].split('</think>')[-1]")


@pytest.fixture(autouse=True)
def of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEREASON_MEASURED", str(tmp_path / "measured"))


def model(folder: Path, reply: str, template: str = CHATML, shut: str = "") -> Reasoner:
    rules = [("<|im_start|>assistant\n", reply)]
    if shut:
        rules += [("<think>\n", f"{THOUGHT}\n{shut}"), (f"{shut}\n\n", ANSWER), (shut, ANSWER)]
    return opened(folder, template, rules)


def asked_of(folder: Path, reply: str, template: str = CHATML, shut: str = "") -> Bundle:
    """What is known of the model in the folder once it was asked."""
    with model(folder, reply, template, shut) as reasoner:
        asked.keep(reasoner.bundle, ask(reasoner))
    return asked.known(open_bundle(folder))


def test_marks_are_learned_and_used_from_then_on(tmp_path: Path) -> None:
    bundle = asked_of(tmp_path, f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}", shut="</think>")
    reasoning = bundle.reasoning
    assert (reasoning.opens, reasoning.shuts, reasoning.enter) == (
        ("<think>",),
        ("</think>",),
        "<think>\n",
    )
    assert reasoning.found == f"asked the model: {len(QUESTIONS)} of 4 answers began with <think>"
    assert bundle.sampling == THINKERS  # greedy thinkers loop
    with Reasoner.open(tmp_path) as again:
        assert again.bundle.reasoning == reasoning
        answer = again.ask("Two and two?", strategy="think", think_budget=99)
        assert (answer.reasoning, answer.answer) == (THOUGHT, ANSWER)
        silent = again.ask("Two and two?", strategy="no-think")
        assert (silent.reasoning, silent.answer) == ("", ANSWER)


def test_a_plain_model_remains_plain(tmp_path: Path) -> None:
    bundle = asked_of(tmp_path, ANSWER)
    assert replace(bundle.reasoning, found="") == PLAIN
    assert bundle.reasoning.found == "asked the model: none of 4 answers had marks"
    assert bundle.sampling == Sampling()


def test_a_template_that_only_drops_marks_is_settled_by_the_model(tmp_path: Path) -> None:
    assert asked.in_doubt(asked_of(tmp_path, ANSWER, DROPS).reasoning)
    assert asked.known(open_bundle(tmp_path)).reasoning.kind is Kind.CUE


def test_few_marks_settle_nothing() -> None:
    bundle = replace(open_bundle(NANO), chat_template=CHATML, reasoning=PLAIN)
    for texts, found in (
        (["<think>\nhm</think>7", "7", "7", "7"], "1 of 4 answers began with <think>"),
        (["<|think|>hm"] * 4, "4 of 4 answers began with <|think|>"),
    ):
        unclear = asked.with_learned(bundle, asked.learn(bundle, texts)).reasoning
        assert unclear == replace(PLAIN, found=f"{UNCLEAR}asked the model: {found}")


def test_a_template_that_tells_is_believed(tmp_path: Path) -> None:
    from support.chat_templates import QWEN3

    bundle = asked_of(tmp_path, ANSWER, QWEN3)
    assert bundle.reasoning == open_bundle(tmp_path).reasoning
    assert bundle.reasoning.kind is Kind.MARKER


@pytest.mark.parametrize(
    "spoiled",
    [
        {"template": "another"},
        {"answers": 0},
        {"answers": "four"},
        {"marked": 5},
        {"open": 7},
        {"unheard_of": 1},
    ],
)
def test_what_is_spoiled_or_of_another_template_is_not_used(
    tmp_path: Path, spoiled: dict[str, object]
) -> None:
    with model(tmp_path, ANSWER) as reasoner:
        learned = {**asked.learn(reasoner.bundle, ["<think>\nhm</think>7"] * 4), **spoiled}
        measured.write(reasoner.bundle, "marks", learned)
    assert asked.known(open_bundle(tmp_path)).reasoning == PLAIN


def test_nano_without_what_its_bundle_tells(tmp_path: Path) -> None:
    """A real model: it begins to think by itself, and is known as well as if it were told."""
    folder = tmp_path / "untold"
    folder.mkdir()
    (folder / "model.gguf").write_bytes((NANO / "model.gguf").read_bytes())
    manifest = json.loads((NANO / "edgereason.json").read_text())
    del manifest["reasoning"]
    (folder / "edgereason.json").write_text(json.dumps(manifest | {"chat_template": CHATML}))
    with Reasoner.open(folder) as reasoner:
        assert reasoner.bundle.reasoning == PLAIN
        asked.keep(reasoner.bundle, ask(reasoner))
    with Reasoner.open(folder) as untold, Reasoner.open(NANO) as nano:
        reasoning = untold.bundle.reasoning
        assert reasoning.found == "asked the model: 4 of 4 answers began with <think>"
        assert (reasoning.opens, reasoning.shuts) == (("<think>",), ("</think>",))
        question = problems("chain", 1, 5)[0].question
        one, other = (
            model.ask(question, strategy="think", think_budget=200, sampling=Sampling())
            for model in (untold, nano)
        )
        assert (one.reasoning, one.answer) == (other.reasoning, other.answer)
        assert one.reasoning
        assert one.answer


def test_the_command_asks_and_show_tells(cli: Cli, tmp_path: Path) -> None:
    model(tmp_path, f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}").close()
    path = str(tmp_path)
    assert "asked the model" not in cli("show", path).out
    ran = cli("calibrate", "-m", path, "--json").json
    assert ran == {"thoughts": "asked the model: 4 of 4 answers began with <think>"}
    assert "found by      asked the model: 4 of 4" in cli("show", path).out
    assert cli("show", path, "--json").json["reasoning"]["opens"] == ["<think>"]


def test_a_dry_run_keeps_nothing(cli: Cli, tmp_path: Path) -> None:
    model(tmp_path, f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}").close()
    ran = cli("calibrate", "-m", str(tmp_path), "--dry-run")
    assert "asked the model: 4 of 4" in ran.err
    assert asked.known(open_bundle(tmp_path)).reasoning == PLAIN
