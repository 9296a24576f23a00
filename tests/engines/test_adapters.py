"""Control vectors and LoRA adapters for single requests, side by side with others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgereason import Reasoner, _core, engines
from edgereason.errors import BundleError, ModelNotFoundError, UnsupportedError, UsageError
from edgereason.models.bundle import open_bundle
from edgereason.models.steering_file import Steering, read_steering, write_steering
from edgereason.prompt.lowering import lower
from edgereason.records import Answer, Phase, Segment
from edgereason.registry import load
from support.cli_runner import Cli
from support.places import SCRIPTED
from support.tiny_models import EMBD, LAYERS, write_lora, write_model

pytest.importorskip("gguf")

module = load(engines, "llamacpp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("steer")
    write_model(made / "tiny.gguf", "dense")
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((LAYERS, EMBD)).astype(np.float32)
    rows[0] = 0
    write_steering(made / "v.gguf", Steering("llama", rows))
    write_steering(made / "minus.gguf", Steering("llama", -rows))
    write_lora(made / "lora.gguf")
    return made


@pytest.fixture(scope="module")
def reasoner(folder: Path) -> Iterator[Reasoner]:
    with Reasoner.open(folder / "tiny.gguf", context=1024, threads=1) as opened:
        yield opened


def asked(reasoner: Reasoner, *adapters: Path | str, **more: Any) -> list[int]:
    handle = reasoner.submit(
        "he said",
        strategy="no-think",
        answer_budget=16,
        adapters=[str(a) for a in adapters],
        **more,
    )
    handle.result()
    return [token for line in handle.chains for phase in line for token in phase.tokens]


def test_a_vector_changes_what_is_said_and_strength_says_how_much(
    reasoner: Reasoner, folder: Path
) -> None:
    plain = asked(reasoner)
    weak, strong = (asked(reasoner, f"{folder / 'v.gguf'}:{s}") for s in (0.2, 4))
    assert plain != strong != weak


def test_strength_0_is_the_model_bit_for_bit(reasoner: Reasoner, folder: Path) -> None:
    assert reasoner._adapters.get([f"{folder / 'v.gguf'}:0"]) == 0
    assert asked(reasoner, f"{folder / 'v.gguf'}:0") == asked(reasoner)


def test_a_vector_and_its_opposite_are_nothing(reasoner: Reasoner, folder: Path) -> None:
    both = (folder / "v.gguf", folder / "minus.gguf")
    assert reasoner._adapters.get([str(file) for file in both]) == 0
    assert reasoner._adapters.get([f"{both[0]}:2", f"{both[0]}:-2"]) == 0
    assert asked(reasoner, *both) == asked(reasoner)


def state_under(folder: Path, rows: Any) -> Any:
    """The state of one token, after the final norm, while `rows` steer."""
    engine = module.open(
        open_bundle(folder / "tiny.gguf"), module.Config(context=256, sequences=4, hidden=True)
    )
    core = _core.Scheduler(engine)
    core.add_adapters(5, steering=rows)
    sequence = core.open(context_key=5)
    core.run(sequence, lower(Phase("answer", fresh=(Segment("he"),), budget=2), engine))
    while core.step():
        core.take(0)
    engine.decode([(3, 0, 5, True)])  # what was set for the last step still is
    state = engine.hidden(0)
    assert state is not None
    return state


def test_it_is_added_behind_the_layer_it_names(folder: Path) -> None:
    """Behind the last layer a huge vector is all there is: the state is its direction, normed and
    times the weights of the norm, which two vectors must agree on."""
    found = []
    for seed in (1, 2):
        rows = np.zeros((LAYERS, EMBD), np.float32)
        rows[-1] = 1e5 * np.random.default_rng(seed).standard_normal(EMBD)
        normed = rows[-1] / np.sqrt(np.mean(rows[-1] ** 2))
        found.append(state_under(folder, rows) / normed)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-2)
    first = np.zeros((LAYERS, EMBD), np.float32)
    first[0] = 1e5
    nothing = state_under(folder, np.zeros((LAYERS, EMBD), np.float32))
    np.testing.assert_array_equal(state_under(folder, first), nothing)  # libllama has no layer 0


def test_a_file_comes_back(tmp_path: Path) -> None:
    rows = np.random.default_rng(4).standard_normal((5, 8)).astype(np.float32)
    rows[[0, 3]] = 0
    write_steering(tmp_path / "v.gguf", Steering("", rows))
    back = read_steering(tmp_path / "v.gguf")
    assert back.made_for == ""
    np.testing.assert_array_equal(back.rows, rows)


def test_requests_of_several_strengths_share_no_step_and_no_kv(
    reasoner: Reasoner, folder: Path
) -> None:
    ways = [
        (),
        (f"{folder / 'v.gguf'}:0.2",),
        (f"{folder / 'v.gguf'}:4",),
        (str(folder / "lora.gguf"),),
    ]
    alone = [asked(reasoner, *way) for way in ways]
    assert len({tuple(tokens) for tokens in alone}) == len(ways)
    handles = [
        reasoner.submit("he said", strategy="no-think", answer_budget=16, adapters=way)
        for way in ways
        for _ in range(2)
    ]
    answers: list[Answer] = [handle.result() for handle in handles]
    found = [[token for line in h.chains for p in line for token in p.tokens] for h in handles]
    assert found == [tokens for tokens in alone for _ in range(2)]
    assert all(answer.finish.value in ("stop", "budget") for answer in answers)


def test_kept_kv_serves_its_own_key_only(reasoner: Reasoner, folder: Path) -> None:
    prompt = "once upon a time there was a robot " * 3
    way = {"strategy": "no-think", "answer_budget": 4, "keep": True}
    steered = {"adapters": (f"{folder / 'v.gguf'}:3",), **way}
    reasoner.ask(prompt, **way)
    assert reasoner.ask(prompt, **steered).usage.cached_tokens == 0
    assert reasoner.ask(prompt, **steered).usage.cached_tokens > 10


def test_a_lora_for_one_request_is_that_of_a_model_opened_with_it(
    reasoner: Reasoner, folder: Path
) -> None:
    lora = f"{folder / 'lora.gguf'}:0.5"
    with Reasoner.open(folder / "tiny.gguf", context=1024, threads=1, lora=(lora,)) as opened:
        assert asked(opened) == asked(reasoner, lora)
        assert asked(opened) != asked(reasoner)


def test_what_does_not_fit_is_refused(reasoner: Reasoner, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no such adapter"):
        asked(reasoner, "/nowhere.gguf")
    with pytest.raises(UsageError, match="must be a number, got 'strong'"):
        asked(reasoner, f"{folder / 'v.gguf'}:strong")
    with pytest.raises(BundleError, match="neither a control vector nor a LoRA"):
        asked(reasoner, folder / "tiny.gguf")
    write_steering(tmp_path / "qwen.gguf", Steering("qwen2", np.ones((2, 8), np.float32)))
    with pytest.raises(BundleError, match="made for architecture qwen2"):
        asked(reasoner, tmp_path / "qwen.gguf")
    write_steering(tmp_path / "narrow.gguf", Steering("llama", np.ones((2, 7), np.float32)))
    with pytest.raises(BundleError, match="does not fit"):
        asked(reasoner, tmp_path / "narrow.gguf")
    write_steering(tmp_path / "deep.gguf", Steering("llama", np.ones((99, EMBD), np.float32)))
    with pytest.raises(BundleError, match="does not fit"):
        asked(reasoner, tmp_path / "deep.gguf")
    with pytest.raises(UsageError, match="nothing but zeros"):
        write_steering(tmp_path / "zero.gguf", Steering("", np.zeros((2, 8), np.float32)))
    assert asked(reasoner)


def test_an_engine_that_cannot_refuses(folder: Path) -> None:
    with (
        Reasoner.open(SCRIPTED) as scripted,
        pytest.raises(UnsupportedError, match="takes no adapters for single requests"),
    ):
        scripted.ask("Why?", adapters=(str(folder / "v.gguf"),))


def test_the_command_line(cli: Cli, folder: Path) -> None:
    ask = ["run", "he said", "--model", str(folder / "tiny.gguf"), "--context", "256", "--json"]
    ask += ["--strategy", "no-think", "--answer-budget", "8", "--threads", "1"]
    plain, changed = (
        cli(*ask, *more).json["answer"] for more in ((), ("--adapter", f"{folder / 'v.gguf'}:8"))
    )
    assert plain != changed


def test_blends_go_with_vectors_and_not_with_loras(reasoner: Reasoner, folder: Path) -> None:
    soft = {"strategy": "soft", "think_budget": 8, "answer_budget": 4}
    vector, lora = f"{folder / 'v.gguf'}:0.1", str(folder / "lora.gguf")
    assert reasoner.ask("he said", adapters=[vector], **soft).usage.latent_tokens > 0
    with pytest.raises(UnsupportedError, match="which a LoRA may change"):
        reasoner.ask("he said", adapters=[lora], **soft)
