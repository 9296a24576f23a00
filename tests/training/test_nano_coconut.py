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
from edgereason.training.nano import coconut, folder, latent, thoughts
from edgereason.training.nano.model import Nano
from support.tiny_nano import TINY, WORDS, one_thread, run  # noqa: F401  # a fixture

MIXTURE = coconut.Mixture(latent=2, think=1, none=1)


def text_of(ids: Sequence[int]) -> str:
    text: str = WORDS.decode(list(ids), skip_special_tokens=False)
    return text


def sheets(stage: int, num: int) -> list[coconut.Sheet]:
    if stage == 0:
        return coconut.draw_written(0, seed=0, num=num, tokenizer=WORDS)
    rng = random.Random(stage)
    drawn = [reach.sheet(rng, 4) for _ in range(num)]
    return [coconut.sheet_of(facts, asked, stage, WORDS, MIXTURE) for facts, asked in drawn]


def drawn(step: int, num: int = 8) -> list[coconut.Sheet]:
    return coconut.draw_latent(step, seed=0, num=num, tokenizer=WORDS, steps=1000)


def names(ids: Sequence[int]) -> set[str]:
    return {text_of([token]) for token in ids}


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


@pytest.mark.parametrize("stage", [0, 2, 6])
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
    for stage in range(1, coconut.MAX_STAGE + 1):
        want = "".join(f"{step}\n" for step in problem.steps[stage:])
        assert coconut.remaining(problem, stage) == f"{want}# {problem.answer}<|im_end|>"
        sheet = sheets(stage, num=1)[0]
        assert sheet.num_latents == stage
        assert len(sheet.latent) == 2
        assert text_of(sheet.latent[0].question).endswith("<|start-latent|>")
        assert text_of(sheet.latent[0].given) == "<|end-latent|>"
    assert len(problem.steps) <= coconut.MAX_STAGE
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


def test_a_thought_is_told_what_is_so_many_steps_away() -> None:
    facts = (
        "Every rempus is a kerpus. Sally is a rempus. Every lempus is a kerpus. "
        "Sally is a lempus. Every kerpus is a rempus. Every kerpus is a wumpus."
    )
    follows = thoughts.followers(facts)
    assert follows["kerpus"] == ["rempus", "wumpus"]
    found = [names(ids) for ids in thoughts.near(follows, "Sally", 4, WORDS)]
    assert found == [{"rempus", "lempus"}, {"kerpus"}, {"wumpus"}, set()]
    for nodes, kinds in thoughts.hops(random.Random(0), follows, 20, WORDS):
        assert names(kinds) == {kind for name in names(nodes) for kind in follows[name]}


def test_a_shown_thought_is_the_middle_of_what_it_is_to_name() -> None:
    model = Nano(TINY)
    near = (((20, 21), (22,), ()), ())
    guide = thoughts.Guide(model, near, ((False, True, True), ()), lambda state: 2 * state)
    states = [torch.randn(2, 1, TINY.num_embd) for _ in range(3)]
    fed = [guide(state) for state in states]
    assert torch.equal(fed[0], 2 * states[0])
    shown = fed[1][0, 0].detach()
    assert torch.cosine_similarity(shown, model.embed(torch.tensor(22)), dim=0) > 0.999
    assert shown.square().mean().item() == pytest.approx(
        states[1][0].square().mean().item(), rel=1e-3
    )
    assert torch.equal(fed[1][1], 2 * states[1][1])
    assert torch.equal(fed[2], 2 * states[2])  # nothing is so far away

    told = [model.logits(state[0, 0]).log_softmax(-1) for state in states]
    want = -thoughts.NAMING * ((told[0][20] + told[0][21]) / 2 + told[1][22])
    assert guide.loss().item() == pytest.approx(want.item(), rel=1e-4)


def test_a_hop_goes_on_from_all_nodes_at_once() -> None:
    model = Nano(TINY)
    hop = ((20, 21), (30, 31, 32))
    rows = model.embed(torch.tensor([[5, 6, 7]]))
    _, cache = model(rows)
    real = torch.ones(1, 3, dtype=torch.bool)
    loss = thoughts.hop_loss(model, 9, [hop], (cache, real))

    middle = model.embed(torch.tensor([20, 21])).mean(0)
    middle = middle / (middle.square().mean() + 1e-8).sqrt()
    start = model.embed(torch.tensor([9]))
    whole_rows = torch.cat((rows[0], start, middle[None]))[None]
    told = model.logits(model(whole_rows)[0][0, -1]).log_softmax(-1)
    want = -thoughts.HOPPING * told[[30, 31, 32]].mean()
    assert loss.item() == pytest.approx(want.item(), rel=1e-3)


def test_graphs_grow_thoughts_are_shown_less_and_at_last_are_told_nothing() -> None:
    first, middle, last = drawn(0), drawn(300), drawn(999)
    assert {sheet.num_latents for sheet in first} == {1}
    assert len(first[0].facts) < len(last[0].facts)
    assert all(all(asked.shown) for sheet in first for asked in sheet.latent)
    shown = [one for sheet in middle for asked in sheet.latent for one in asked.shown]
    assert 0.3 < sum(shown) / len(shown) < 0.7
    for sheet in last:
        assert not sheet.hops
        assert not any(asked.near or asked.shown for asked in sheet.latent)
    stages = [drawn(step, num=1)[0].num_latents for step in range(900, 960)]
    assert set(stages) == set(range(1, 7))
    assert stages.count(6) > 20


def test_the_last_run_asks_more_about_each_graph_and_tells_nothing() -> None:
    batches = [coconut.draw_alone(step, seed=0, num=2, tokenizer=WORDS) for step in range(30)]
    for sheet in batches[0]:
        assert (len(sheet.latent), len(sheet.plain), sheet.hops) == (11, 2, ())
        assert not any(asked.near or asked.shown for asked in sheet.latent)
    assert {sheet.num_latents for sheets in batches for sheet in sheets} == set(range(1, 7))


def test_the_last_run_and_what_was_before_meet_halfway() -> None:
    before, after = Nano(TINY).state_dict(), Nano(TINY)
    last = {name: weight.clone() for name, weight in after.state_dict().items()}
    coconut.meet(after, before)
    for name, weight in after.state_dict().items():
        assert torch.allclose(weight, (before[name] + last[name]) / 2)


def test_questions_are_about_persons_and_species_and_all_are_for_training() -> None:
    asked = []
    for sheet in drawn(500, num=30):
        for one in sheet.latent:
            prompt = text_of(sheet.facts + one.question)
            question = prompt.split("user\n")[1].split("<|im_end|>")[0]
            assert split_of(question) == "train"
            asked.append(re.search(r"Is (\w+) a \w+ or \w+\?", question)[1])  # type: ignore[index]
    assert 0.5 < sum(who in reach.PERSONS for who in asked) / len(asked) < 0.8


def test_facts_writing_and_latents_are_trained_and_then_judged(tmp_path: Path) -> None:
    folder.save(Nano(replace(TINY, context=330)), WORDS, tmp_path / "base")
    threads = ("--threads", "1")
    few = ("--facts", "1", "--first", "1", "--steps", "2", "--alone", "1", "--examples", "2")
    run("coconut", "--start", str(tmp_path / "base"), "--out", str(tmp_path), *few, *threads)
    log = (tmp_path / "latents" / "log.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2]
    judged = ("--tasks", "reach", "--modes", "latent:6", "--num", "2")
    output = run("evaluate", "--model", str(tmp_path), *judged, *threads)
    score = json.loads(output.splitlines()[-1])["scores"][0]
    assert (score["task"], score["mode"], score["num"]) == ("reach", "latent:6", 2)
