"""The Coconut recipe on models of a few thousand parameters: its sheets, its loss, its stages."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the recipes train with torch")
pytest.importorskip("tokenizers", reason="the recipes learn their tokenizer with tokenizers")
pytest.importorskip("safetensors", reason="the recipes save safetensors")

from edgereason.bench.tasks import reach
from edgereason.bench.tasks.base import split_of
from edgereason.export.recipes.nano import coconut, folder, latent
from edgereason.export.recipes.nano.model import Nano
from tiny_nano import TINY, WORDS, one_thread, run  # noqa: F401  # a fixture

MIXTURE = coconut.Mixture(latent=2, think=1, none=1)


def text_of(ids: Sequence[int]) -> str:
    text: str = WORDS.decode(list(ids), skip_special_tokens=False)
    return text


def sheets(stage: int, num: int) -> list[coconut.Sheet]:
    return coconut.draw(0, seed=0, stage=stage, num=num, tokenizer=WORDS, mixture=MIXTURE)


def whole(model: Nano, sheet: coconut.Sheet, one: coconut.Asked, num_latents: int) -> torch.Tensor:
    """The loss of one question as the paper's code has it: everything again for each latent."""
    rows = model.embed(torch.tensor([[*sheet.facts, *one.question]]))
    for _ in range(num_latents):
        rows = torch.cat((rows, model(rows)[0][:, -1:]), dim=1)
    tail = torch.tensor([*one.given, *one.written])
    rows = torch.cat((rows, model.embed(tail[None])), dim=1)
    hidden, _ = model(rows)
    length = len(one.written)
    logits = model.logits(hidden[0, -length - 1 : -1])
    return torch.nn.functional.cross_entropy(logits, tail[-length:], reduction="sum")


def test_latent_steps_on_a_shared_cache_are_those_of_the_slow_way() -> None:
    model = Nano(TINY)
    prompts = [list(range(20, 20 + length)) for length in (3, 9, 6)]
    state, _, _ = latent.think(model, prompts, 4)
    for row, prompt in enumerate(prompts):
        rows = model.embed(torch.tensor([prompt]))
        for _ in range(4):
            rows = torch.cat((rows, model(rows)[0][:, -1:]), dim=1)
        assert torch.allclose(state[row], model(rows)[0][0, -1:], atol=1e-4)


@pytest.mark.parametrize("stage", [0, 2, 7])
def test_the_loss_of_a_sheet_is_that_of_its_questions_one_by_one(stage: int) -> None:
    model = Nano(TINY)
    batch = sheets(stage, num=3)
    slow = sum(
        whole(model, sheet, one, num_latents).item()
        for sheet in batch
        for group, num_latents in ((sheet.plain, 0), (sheet.latent, sheet.num_latents))
        for one in group
    )
    loss, count = coconut.loss_of(model, batch)
    assert loss.item() == pytest.approx(slow, rel=1e-4)
    assert count == sum(len(one.written) for s in batch for one in (*s.plain, *s.latent))


def test_a_stage_replaces_the_first_steps_and_the_last_stage_all() -> None:
    problem = reach.generate(random.Random(0))
    for stage in range(1, coconut.MAX_STAGE + 2):
        kept = problem.steps[stage:] if stage <= coconut.MAX_STAGE else ()
        want = "".join(f"{step}\n" for step in kept) + f"# {problem.answer}<|im_end|>"
        assert coconut.remaining(problem, stage) == want
        sheet = sheets(stage, num=1)[0]
        assert sheet.num_latents == min(stage, 6)
        assert len(sheet.latent) == 2
        assert text_of(sheet.latent[0].question).endswith("<|start-latent|>")
        assert text_of(sheet.latent[0].given) == "<|end-latent|>"
    assert sheets(0, num=1)[0].latent == ()


def test_a_sheet_asks_training_questions_in_writing_and_at_once() -> None:
    for sheet in sheets(0, num=20):
        *thought, silent = sheet.plain
        for one in thought:
            assert text_of(one.written).startswith("<think>\n")
        assert text_of(silent.given) == "<think>\n\n</think>\n\n"
        for one in sheet.plain:
            prompt = text_of(sheet.facts + one.question)
            question = prompt.split("user\n")[1].split("<|im_end|>")[0]
            assert split_of(question) == "train"


def test_gradients_flow_through_every_latent_step() -> None:
    model = Nano(TINY)
    states: list[torch.Tensor] = []

    def feed(state: torch.Tensor) -> torch.Tensor:
        state.retain_grad()
        states.append(state)
        return state

    batch = sheets(3, num=3)
    coconut.loss_of(model, batch, feed)[0].backward()
    assert len(states) == 3
    assert all(state.grad is not None and state.grad.abs().sum() > 0 for state in states)

    model.zero_grad()
    states.clear()
    coconut.loss_of(model, batch, lambda state: latent.zeroed(feed(state)))[0].backward()
    assert all(state.grad is None or state.grad.abs().sum() == 0 for state in states)


def test_nothing_stays_behind_on_the_cpu() -> None:
    """The meta device stands for a GPU: it computes nothing and refuses tensors from elsewhere."""
    loss, _ = coconut.loss_of(Nano(TINY).to("meta"), sheets(2, num=3))
    assert loss.device.type == "meta"


def test_reciting_asks_for_what_each_fact_says() -> None:
    for step, most in ((0, 3), (coconut.FEW + 10 * coconut.ONE_MORE, 13), (10**4, 36)):
        examples = coconut.recite(step, seed=0, tokens=2000, tokenizer=WORDS)
        assert 2000 <= sum(e.num_tokens for e in examples) < 2400
        for example in examples:
            text = text_of(example.tokens)
            given, again = text.split("<|im_end|>")
            facts = set(re.findall(r"Every (\w+) is a (\w+)\.", given))
            assert set(re.findall(r"Every (\w+) is a (\w+)\.", again)) == facts
            assert 2 <= len(facts) <= most
            learned = [
                t
                for t, is_learned in zip(example.tokens, example.learned, strict=True)
                if is_learned
            ]
            assert sorted(text_of([t]) for t in learned) == sorted(found for _, found in facts)


def test_the_words_begin_as_different_as_digits_are() -> None:
    model = Nano(TINY)
    with torch.no_grad():
        model.model.embed_tokens.weight[100:] = 1.0  # as a training leaves what it never saw
    coconut.begin(model, WORDS)
    rows = model.model.embed_tokens.weight[[WORDS.token_to_id(name) for name in reach.SPECIES]]
    digits = model.model.embed_tokens.weight[[WORDS.token_to_id(str(d)) for d in range(10)]]
    spread = (digits - digits.mean(0)).square().mean().sqrt()
    found = (rows - rows.mean(0)).square().mean().sqrt().item()
    assert found == pytest.approx(spread.item(), rel=0.1)


def test_every_stage_is_trained_and_the_last_is_judged(tmp_path: Path) -> None:
    folder.save(Nano(replace(TINY, context=330)), WORDS, tmp_path / "base")
    threads = ("--threads", "1")
    few = ("--facts", "1", "--first", "1", "--steps", "1", "--last", "1", "--examples", "2")
    run("coconut", "--start", str(tmp_path / "base"), "--out", str(tmp_path), *few, *threads)
    log = (tmp_path / "stage-7" / "log.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["step"] for line in log] == [1]
    judged = ("--tasks", "reach", "--modes", "latent:6", "--num", "2")
    output = run("evaluate", "--model", str(tmp_path), *judged, *threads)
    score = json.loads(output.splitlines()[-1])["scores"][0]
    assert (score["task"], score["mode"], score["num"]) == ("reach", "latent:6", 2)
