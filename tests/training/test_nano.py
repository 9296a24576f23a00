"""The nano recipes on models of a few thousand parameters: seconds, no trained weights."""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.places import ROOT

torch = pytest.importorskip("torch", reason="the recipes train with torch")
pytest.importorskip("tokenizers", reason="the recipes learn their tokenizer with tokenizers")
pytest.importorskip("safetensors", reason="the recipes save safetensors")

import typer

from edgereason.bench.tasks import chain, iterate, reach
from edgereason.errors import BundleError, UsageError
from edgereason.prompt.detection import detect_reasoning
from edgereason.prompt.template import render_text
from edgereason.training.nano import __main__ as commands
from edgereason.training.nano import evaluate, examples, folder, muon, train
from edgereason.training.nano import tokenizer as vocabulary
from edgereason.training.nano.model import Nano, Shape
from support.tiny_nano import TINY, WORDS, one_thread, run  # noqa: F401  # a fixture


def tiny(**changes: int) -> Nano:
    return Nano(replace(TINY, **changes))


def ids(text: str) -> list[int]:
    found: list[int] = WORDS.encode(text).ids
    return found


# --- words --------------------------------------------------------------------------------------


def test_digits_stand_alone_and_the_tasks_words_are_whole() -> None:
    assert WORDS.encode("47+8=55").tokens == ["4", "7", "+", "8", "=", "5", "5"]
    for word in (*reach.SPECIES, *reach.PERSONS, "Every"):
        assert len(ids(word)) == len(ids(f" {word}")) == 1
    for text in vocabulary.CONTROL:
        assert WORDS.encode(text).tokens == [text]
    assert WORDS.get_vocab_size() == vocabulary.NUM_VOCAB == Shape().num_vocab


def test_every_text_comes_back() -> None:
    for text in ("Größe 12,5 €", "a  b\n\n\nc", "日本", "x = 17; apply x -> (3x + 4) mod 97"):
        assert WORDS.decode(ids(text)) == text


def test_the_words_are_the_same_every_time() -> None:
    assert vocabulary.build().to_str() == WORDS.to_str()


# --- examples -----------------------------------------------------------------------------------


def test_the_template_writes_the_prompt_that_is_trained() -> None:
    variables = {
        "messages": [{"role": "user", "content": "What is 4+5?"}],
        "add_generation_prompt": True,
    }
    for off in (False, True):
        text = render_text(
            vocabulary.TEMPLATE, variables | ({"enable_thinking": False} if off else {})
        )
        tail = examples.opening("none" if off else "think")
        assert text == examples.prompt("What is 4+5?") + tail


def test_the_runtime_sees_how_the_family_thinks() -> None:
    found = detect_reasoning(vocabulary.TEMPLATE, vocabulary.CONTROL)
    assert found
    assert (found.close, found.enter) == (examples.SHUT, examples.OPEN)


def written(mode: str, budget: int = 0, seed: int = 0) -> tuple[str, str, tuple[str, ...]]:
    """Everything, and what is learned of it, of one chain of five numbers."""
    rng = random.Random(seed)
    problem = chain.generate(rng, terms=(5, 5))
    one = examples.encode(examples.reply(problem, mode, budget, rng, WORDS), WORDS)
    learned = [t for t, mine in zip(one.tokens, one.learned, strict=True) if mine]
    decode = WORDS.decode
    whole = decode(list(one.tokens), skip_special_tokens=False)
    return whole, decode(learned, skip_special_tokens=False), problem.steps


def test_replies_of_every_mode_and_what_is_learned_of_them() -> None:
    whole, learned, steps = written("think")
    thought = "\n".join(steps)
    answer = steps[-1].partition("=")[2]
    assert whole == learned == f"<think>\n{thought}\n</think>\n\n{answer}<|im_end|>"

    whole, learned, _ = written("none")
    assert whole == f"<think>\n\n</think>\n\n{answer}<|im_end|>"
    assert learned == f"{answer}<|im_end|>"

    whole, learned, _ = written("budget", 128)
    sentence = "<think>\nI will answer the question within 128 tokens.\n"
    assert whole == sentence + learned
    assert learned == f"{thought}\n</think>\n\n{answer}<|im_end|>"

    whole, learned, _ = written("auto")
    assert whole == "<think>\n...\n" + learned
    assert learned.startswith(thought)

    whole, learned, _ = written("cut")
    assert learned.strip() == f"{answer}<|im_end|>"
    assert thought not in whole


def test_the_ellipsis_leaves_easy_problems_unthought() -> None:
    rng = random.Random(0)
    problem = chain.generate(rng, terms=(3, 3))
    one = examples.reply(problem, "auto", 0, rng, WORDS)
    assert "".join(p.text for p in one) == f"<think>\n...\n</think>\n\n{problem.answer}<|im_end|>"


@pytest.mark.parametrize("budget", examples.BUDGETS)
def test_a_thought_keeps_its_budget_and_ends_with_the_answer(budget: int) -> None:
    rng = random.Random(0)
    for task in (chain, iterate, reach):
        for _ in range(20):
            problem = task.generate(rng)
            thought = examples.reply(problem, "budget", budget, rng, WORDS)[1].text
            assert len(ids(thought)) <= budget
            assert not thought or thought.rstrip(".").endswith(problem.notes[-1])


def test_shorter_thoughts_keep_the_last_note() -> None:
    problem = chain.generate(random.Random(0), terms=(6, 6))
    n = problem.notes
    assert examples.thoughts(problem) == [
        "\n".join(problem.steps),
        "\n".join(n),
        f"{n[0]}\n{n[2]}\n{n[4]}",
        f"{n[0]}\n{n[4]}",
    ]


# --- the model ----------------------------------------------------------------------------------


def test_a_cache_changes_nothing() -> None:
    model = tiny()
    rows = model.embed(torch.randint(0, 500, (3, 12)))
    whole, _ = model(rows)
    first, cache = model(rows[:, :5])
    second, cache = model(rows[:, 5:9], cache)
    last, _ = model(rows[:, 9:], cache)
    assert torch.allclose(whole, torch.cat((first, second, last), dim=1), atol=1e-5)


def test_a_saved_model_is_a_llama_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    model = tiny()
    folder.save(model, WORDS, tmp_path)
    ours, words = folder.load(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokens = torch.randint(0, 500, (2, 20))
    with torch.inference_mode():
        hidden, _ = ours(ours.embed(tokens))
        assert torch.allclose(ours.logits(hidden), theirs(tokens).logits, atol=1e-5)
    text = "What is 47+8? <think>\nEvery rempus"
    slow = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert slow(text)["input_ids"] == words.encode(text).ids
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == slow.eos_token_id


def test_the_exported_words_cut_every_piece_as_libllama_does(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="writes GGUF")
    from edgereason.export.libllama import tokenize
    from edgereason.export.metadata import write_vocabulary
    from edgereason.export.sources.open import open_source

    folder.save(tiny(), WORDS, tmp_path / "nano")
    with open_source(tmp_path / "nano") as source:
        write_vocabulary(source, tmp_path / "vocab.gguf")
    rng = random.Random(0)
    texts = []
    for generate, mode, budget in itertools.product(
        examples.TASKS.values(), ("think", "budget", "none", "auto", "cut"), examples.BUDGETS
    ):
        problem = generate(rng, "train")
        pieces = examples.reply(problem, mode, budget, rng, WORDS)
        texts += [examples.prompt(problem.question), *(p.text for p in pieces if p.text)]
    assert tokenize(tmp_path / "vocab.gguf", texts) == [ids(text) for text in texts]


def test_muon_steps_along_an_orthogonal_matrix() -> None:
    for shape in ((16, 48), (48, 16)):
        values = torch.linalg.svdvals(muon.orthogonal(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.3


# --- training -----------------------------------------------------------------------------------


def draw(step: int) -> list[examples.Example]:
    return examples.draw(
        step % 2, seed=0, num=4, tokenizer=WORDS, tasks={"chain": 1.0}, modes={"think": 1.0}
    )


def trainer(model: Nano, out: Path, steps: int) -> train.Trainer[examples.Example]:
    schedule = train.Schedule(steps=steps, lr=1e-2, warmup=2, threads=1)
    return train.Trainer(model, draw, train.loss_of, schedule=schedule, out=out)


def logged(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls_and_is_logged(tmp_path: Path) -> None:
    trainer(tiny(), tmp_path, 12).run()
    lines = logged(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    assert lines[-1]["tokens"] > lines[0]["tokens"] > 0


def test_a_run_goes_on_from_its_checkpoint_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole, first, second = tiny(), tiny(), tiny()
    first.load_state_dict(whole.state_dict())
    trainer(whole, tmp_path / "whole", 6).run()
    broken = trainer(first, tmp_path / "broken", 6)
    for _ in range(3):
        broken.one_step(draw(broken.step))
    broken.save()
    lines = (tmp_path / "whole" / "log.jsonl").read_text().splitlines(keepends=True)
    broken.log.write_text("".join(lines[:5]) + '{"step"')  # two steps and a half after it was saved
    resumed = trainer(second, tmp_path / "broken", 6)
    assert resumed.step == 3
    resumed.run()
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name
    assert [line["step"] for line in logged(tmp_path / "broken")] == [1, 2, 3, 4, 5, 6]


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    schedule = train.Schedule(steps=110, lr=1.0, warmup=10)
    assert [schedule.rate(step) for step in (0, 9, 10)] == [0.1, 1.0, 1.0]
    assert schedule.rate(60) == pytest.approx(0.525)
    assert schedule.rate(110) == pytest.approx(0.05)


def test_padding_changes_no_loss() -> None:
    model = tiny()
    some = [*draw(0), *draw(1)]
    apart = sum(train.loss_of(model, [one])[0].item() for one in some)
    together, count = train.loss_of(model, some)
    assert together.item() == pytest.approx(apart, rel=1e-4)
    assert count == sum(sum(one.learned) for one in some)


def test_examples_drawn_ahead_are_the_same_in_order() -> None:
    want = [draw(step) for step in range(3, 13)]
    assert list(train.ahead(draw, range(3, 13), workers=0)) == want
    few = partial(
        examples.draw, seed=0, num=1, tokenizer=WORDS, tasks={"chain": 1}, modes={"cut": 1}
    )
    for steps in (range(0), range(3, 5), range(3, 12)):
        assert list(train.ahead(few, steps, workers=2)) == [few(step) for step in steps]


def test_nothing_stays_behind_on_the_cpu() -> None:
    """The meta device stands for a GPU: it computes nothing and refuses tensors from elsewhere."""
    model = tiny().to("meta")
    loss, _ = train.loss_of(model, draw(0))
    assert loss.device.type == "meta"


# --- evaluation ---------------------------------------------------------------------------------


def test_greedy_in_a_batch_is_greedy_alone() -> None:
    model = tiny(context=40).eval()
    prompts = [list(range(20, 20 + length)) for length in (3, 9, 6)]
    together = evaluate.write(model, prompts, stop=-1)
    for prompt, got in zip(prompts, together, strict=True):
        rows = list(prompt)
        for _ in got:
            hidden, _ = model(model.embed(torch.tensor([rows])))
            rows.append(int(model.logits(hidden[:, -1]).argmax()))
        assert rows[len(prompt) :] == got


@pytest.mark.parametrize("mode", ["none", "think", "auto", "budget:16", "latent:2:zeroed"])
def test_an_untrained_model_is_scored_in_every_mode(mode: str) -> None:
    model = tiny(context=320).eval()
    found = evaluate.score(model, WORDS, "reach", mode, num=3)
    assert (found.num, found.accuracy) == (3, 0.0)
    assert found.low == 0.0 < found.high
    assert evaluate.table([found]).splitlines()[1].split()[:2] == ["reach", mode]


def test_only_what_follows_the_thinking_is_the_answer() -> None:
    assert evaluate.answer_in("<think>\n4+5=9\n</think>\n\n9<|im_end|>") == "9"
    assert evaluate.answer_in("<think>\n4+5=9") == ""
    assert evaluate.answer_in("# 9<|im_end|>") == "# 9"
    assert evaluate.answer_in(evaluate.opening_of("budget:16") + "9\n9\n9") == ""
    assert evaluate.answer_in(evaluate.opening_of("none") + "9<|im_end|>") == "9"


def test_a_foreign_tokenizer_is_refused() -> None:
    from tokenizers import Tokenizer, models

    with pytest.raises(BundleError, match=r"no token <\|im_end\|>"):
        evaluate.token(Tokenizer(models.BPE()), "<|im_end|>")


# --- the commands -------------------------------------------------------------------------------


def test_the_base_is_trained_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "Shape", lambda: replace(TINY, context=330))

    base = str(tmp_path / "base")
    threads = ("--threads", "1")
    few = ("--steps", "1", "--examples", "2", "--tasks", "chain=2,reach")
    run("base", "--out", base, *few, *threads)
    judged = ("--tasks", "chain", "--modes", "think", "--num", "2")
    output = run("evaluate", "--model", base, *judged, *threads)
    score = json.loads(output.splitlines()[-1])["scores"][0]
    assert (score["task"], score["mode"], score["num"]) == ("chain", "think", 2)


def test_a_mixture_names_known_tasks() -> None:
    assert commands.mixture("chain=3,reach") == {"chain": 3.0, "reach": 1.0}
    with pytest.raises(UsageError, match="no task called 'chian'"):
        commands.mixture("chian=3")


def test_an_unknown_mode_and_a_foreign_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no mode called 'latent:x'.*latent:N:zeroed"):
        evaluate.score(tiny(), WORDS, "reach", "latent:x", num=1)
    trainer(tiny(), tmp_path, 1).save()
    with pytest.raises(UsageError, match="of another model; choose another --out"):
        trainer(tiny(num_layers=1), tmp_path, 1)


def test_the_commands_of_the_page_exist() -> None:
    text = (ROOT / "docs" / "nano.md").read_text(encoding="utf-8")
    lines = re.findall(r"-m edgereason\.training\.nano (.*?)[`\n]", text)
    assert len(lines) == 17
    group: Any = typer.main.get_command(commands.app)
    for line in lines:
        name, *options = line.split()
        known = {opt for parameter in group.commands[name].params for opt in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known
        for modes in re.findall(r"--modes (\S+)", line):
            if name == "base":
                assert commands.mixture(modes, commands.MODES)
                continue
            assert all(evaluate.MODE.fullmatch(mode) for mode in modes.split(","))
