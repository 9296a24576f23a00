"""Prefixes in engines: what a model says behind one is what transformers says with the same rows as
its cache, and requests share them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="compares with transformers")
transformers = pytest.importorskip("transformers", reason="compares with transformers")
pytest.importorskip("gguf", reason="writes with the extra `export`")
pytest.importorskip("onnxruntime", reason="one of the engines")

from edgereason import Reasoner
from edgereason.errors import BundleError, ContextFullError, UsageError
from edgereason.export.job import Job, export
from edgereason.models.bundle import Bundle, open_bundle
from edgereason.models.prefix_file import base_hash, read_prefix
from edgereason.records import Sampling
from support import trt_twin
from support.cli_runner import Cli
from support.hf_models import build_model, save_tokenizer
from support.prefix_rows import Floats, made_up, save

POSITIONS = 7
TRAINABLE = ("llama", "llama3", "qwen2", "qwen3", "smollm3")
# KV in float16, whose rounding a random model blows up; ONNX keeps float32.
CLOSE = {"gguf": 0.05, "onnx": 1e-4}


def wide_llama() -> Any:
    """Heads of 64 numbers, which libllama turns before it quantizes them."""
    torch.manual_seed(11)
    config = transformers.LlamaConfig(
        vocab_size=448,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config).eval()


def exported(model: Any, kind: str, folder: Path, target: str) -> Bundle:
    model.save_pretrained(folder / "hf")
    save_tokenizer(folder / "hf", kind)
    return export(folder / "hf", Job(target, folder / target, {"quant": "f32"})).bundle


def expected(model: Any, kv: tuple[Floats, Floats], tokens: list[int]) -> Floats:
    """Logits of each token, behind the rows."""
    cache = transformers.DynamicCache()
    for i, (key, value) in enumerate(zip(*kv, strict=True)):
        cache.update(torch.from_numpy(key)[None], torch.from_numpy(value)[None], i)
    with torch.no_grad():
        mask = torch.ones(1, kv[0].shape[2] + len(tokens))
        found = model(torch.tensor([tokens]), past_key_values=cache, attention_mask=mask)
    logits: Floats = found.logits[0].numpy()
    return logits


@pytest.mark.parametrize("target", ["gguf", "onnx"])
@pytest.mark.parametrize("kind", TRAINABLE)
def test_an_engine_says_what_transformers_says(kind: str, target: str, tmp_path: Path) -> None:
    """Teacher-forced: a prompt at once, then token by token."""
    model = build_model(kind)
    kv = made_up(model, POSITIONS)
    tokens = np.random.default_rng(4).integers(6, 390, 24).tolist()
    wanted = expected(model, kv, tokens)
    with Reasoner.open(str(exported(model, kind, tmp_path, target).path), context=256) as reasoner:
        engine = reasoner.engine
        engine.load_prefix(2, *kv)
        assert engine.fork(2, 1, POSITIONS)
        rows = [(1, POSITIONS + i, token, True) for i, token in enumerate(tokens)]
        found = []
        for part in (rows[:8], *([row] for row in rows[8:])):
            engine.decode(part)
            found += [engine.logits(i) for i in range(len(part))]
    assert np.abs(wanted).max() > 1
    np.testing.assert_allclose(np.stack(found), wanted, atol=CLOSE[target])


@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
def test_every_type_of_kv_takes_a_prefix(kv_type: str, tmp_path: Path) -> None:
    """As close to torch as what the engine reads by itself."""
    model = wide_llama()
    kv = made_up(model, 5)
    tokens = list(range(30, 50))
    wanted = expected(model, kv, tokens)
    bundle = exported(model, "llama", tmp_path, "gguf")
    with Reasoner.open(str(bundle.path), context=256, kv=kv_type) as reasoner:
        engine = reasoner.engine
        engine.load_prefix(0, *kv)
        engine.decode([(0, 5 + i, token, i > 3) for i, token in enumerate(tokens)])
        behind = np.abs(np.stack([engine.logits(i) for i in range(4, 20)]) - wanted[4:]).max()
        engine.decode([(1, i, token, i > 3) for i, token in enumerate(tokens)])
        with torch.no_grad():
            plain = model(torch.tensor([tokens])).logits[0].numpy()
        alone = np.abs(np.stack([engine.logits(i) for i in range(4, 20)]) - plain[4:]).max()
    assert behind < max(3 * alone, 2e-3), (behind, alone)


@pytest.fixture(scope="module")
def model() -> Any:
    built = build_model("llama")
    built.config.max_position_embeddings = 1024
    return built


@pytest.fixture(scope="module", params=["gguf", "onnx"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: Any, model: Any) -> Bundle:
    """A bundle with four prefixes in its folder."""
    made = exported(model, "llama", tmp_path_factory.mktemp(request.param), request.param)
    for i in range(4):
        save(
            made.path / "prefixes" / f"p{i}.safetensors",
            made_up(model, POSITIONS + i, i),
            base_hash(made),
        )
    return open_bundle(made.path)


def shortfall(model: Any, kv: tuple[Floats, Floats], prompt: list[int], found: list[int]) -> float:
    """How far below the best logit the worst token of `found` is; 0 where all are greedy."""
    logits = expected(model, kv, prompt + found[:-1])[len(prompt) - 1 :]
    return float((logits.max(1) - logits[np.arange(len(found)), found]).max())


def prompt_of(reasoner: Reasoner, question: str) -> list[int]:
    return list(reasoner.prompt_tokens(question, thinking=False))


def said(reasoner: Reasoner, question: str, prefix: str, num: int = 8, **more: Any) -> Any:
    return reasoner.submit(
        question,
        strategy="no-think",
        answer_budget=num,
        sampling=Sampling(temperature=0),
        prefix=prefix,
        **more,
    )


def test_requests_choose_their_prefix_and_share_it(bundle: Bundle, model: Any) -> None:
    """Sixteen at once, four on each of four prefixes, and without any: each as if alone.

    Where cells lie moves logits a little: a token counts as greedy that is as close to the best as
    engines are to torch. Behind the next prefix it would not be.
    """
    prefixes = [read_prefix(bundle.path / "prefixes" / f"p{i}.safetensors") for i in range(4)]
    kvs = [(np.stack(prefix.keys), np.stack(prefix.values)) for prefix in prefixes]
    close = 2 * CLOSE["onnx" if bundle.engine == "onnxruntime" else "gguf"]
    with Reasoner.open(str(bundle.path), context=1024, sequences=32) as reasoner:
        handles = [said(reasoner, f"{i} + 3", f"p{i % 4}") for i in range(16)]
        plain = said(reasoner, "1 + 3", "").result()
        answers = [handle.result() for handle in handles]
        held = sum(prefix.num_positions for prefix in prefixes)
        until = time.monotonic() + 10  # the last requests are closed after they were answered
        while reasoner.stats()["num_free_cells"] < 1024 - held and time.monotonic() < until:
            time.sleep(0.01)
        assert reasoner.stats()["num_free_cells"] == 1024 - held
        for i, (handle, answer) in enumerate(zip(handles, answers, strict=True)):
            prefix = prefixes[i % 4]
            prompt = prompt_of(reasoner, f"{i} + 3")
            found = list(handle.chains[0][-1].tokens)
            assert shortfall(model, kvs[i % 4], prompt, found) < close
            assert shortfall(model, kvs[(i + 1) % 4], prompt, found) > close
            assert answer.usage.prompt_tokens == prefix.num_positions + len(prompt)
            assert answer.usage.cached_tokens >= prefix.num_positions
        assert plain.usage.prompt_tokens == len(prompt_of(reasoner, "1 + 3"))


def test_a_prefix_costs_its_cells_once(bundle: Bundle, model: Any) -> None:
    """Fifteen sequences behind 200 positions, in a context that could not hold two copies."""
    with Reasoner.open(str(bundle.path), context=256, sequences=16) as reasoner:
        engine = reasoner.engine
        engine.load_prefix(0, *made_up(model, 200))
        for seq in range(1, 16):
            assert engine.fork(0, seq, 200)
        for step in range(3):
            engine.decode([(seq, 200 + step, 30 + seq, True) for seq in range(1, 16)])
        assert engine.logits(14) is not None


@pytest.mark.parametrize(
    "strategy", ["think", "no-think", "budget-forcing", "auto", "vote", "infty-think"]
)
def test_every_strategy_stands_behind_it(bundle: Bundle, strategy: str) -> None:
    """Twice the same, with budgets and probes; and not what is said without. Greedy: where cells
    lie moves logits a little, and a random model blows that up."""
    with Reasoner.open(str(bundle.path), context=512) as reasoner:

        def ask(prefix: str) -> str:
            answer = reasoner.ask(
                "12 + 30",
                strategy=strategy,
                think_budget=12,
                answer_budget=6,
                prefix=prefix,
                probe_every=4,
                sampling=Sampling(temperature=0),
            )
            return answer.reasoning + "|" + answer.answer

        assert ask("p1") == ask("p1")
        assert len({ask("p1"), ask("p2"), ask("")}) == 3


def test_conversations_keep_their_prefix(bundle: Bundle) -> None:
    """Parked KV begins with the prefix, so that another prefix's is never taken."""
    with Reasoner.open(str(bundle.path), context=512, park_tokens=256) as reasoner:
        first = said(reasoner, "12 + 30", "p1", keep=True).result()
        other = said(reasoner, "12 + 30", "p2", keep=True).result()
        again = said(reasoner, "12 + 30", "p1", keep=True).result()
        assert other.usage.cached_tokens == POSITIONS + 2
        assert again.usage.cached_tokens > POSITIONS + 2
        assert first.answer == again.answer


def test_a_context_that_prefixes_fill(bundle: Bundle, model: Any, tmp_path: Path) -> None:
    large = save(tmp_path / "large.safetensors", made_up(model, 200), base_hash(bundle))
    with Reasoner.open(str(bundle.path), context=256, prefixes=[large]) as reasoner:
        with pytest.raises(ContextFullError, match="holds 56"):
            said(reasoner, "12 + 30 and " * 12, "p0").result()
        assert said(reasoner, "1", "large", 4).result().usage.answer_tokens <= 4
        with pytest.raises(ContextFullError, match="200 slots"):
            reasoner._prefixes.add(
                [save(tmp_path / "b.safetensors", made_up(model, 200), base_hash(bundle))]
            )


@pytest.fixture
def gguf(model: Any, tmp_path: Path) -> Bundle:
    return exported(model, "llama", tmp_path, "gguf")


def test_what_is_wrong_is_said(gguf: Bundle, model: Any, tmp_path: Path, cli: Cli) -> None:
    kv, base = made_up(model, 3), base_hash(gguf)
    good = save(gguf.path / "prefixes" / "sums.safetensors", kv, base)
    other = save(tmp_path / "other.safetensors", kv, "0" * 64)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(good.read_bytes()[:-100])
    thin = save(tmp_path / "thin.safetensors", (kv[0][..., :8], kv[1][..., :8]), base)
    odd = save(tmp_path / "odd.safetensors", (kv[0][:1], kv[1][:1]), base)
    line = (
        "run",
        "12 + 30",
        "-m",
        str(gguf.path),
        "--strategy",
        "no-think",
        "--answer-budget",
        "4",
    )
    assert cli(*line, "--prefix", "sums").code == 0
    assert cli("show", str(gguf.path), "--json").json["prefixes"] == ["sums"]
    assert cli(*line, "--prefix", str(good)).code == 0
    for prefix, code, message in (
        ("sum", 2, "did you mean 'sums'?"),
        (str(tmp_path / "none.safetensors"), 3, "no such prefix"),
        (str(other), 3, f"for weights {'0' * 12}, gguf has {base[:12]}"),
        (str(broken), 3, "truncated"),
        (str(thin), 3, "a row of the prefix takes"),
        (str(odd), 3, "the prefix has 1 layers, the model 2"),
    ):
        ran = cli(*line, "--prefix", prefix)
        assert (ran.code, message in ran.err) == (code, True), ran.err
    with pytest.raises(BundleError), Reasoner.open(str(gguf.path), prefixes=[other]):
        pass
    twin = save(tmp_path / "sums.safetensors", kv, base)
    with pytest.raises(UsageError, match="two prefixes are called sums"):
        Reasoner.open(str(gguf.path), prefixes=[twin])


def test_engines_without_prefixes_refuse_them(cli: Cli) -> None:
    from support.places import SCRIPTED

    ran = cli("run", "x", "-m", SCRIPTED, "--prefix", "p")
    assert (
        ran.code,
        "has no prefix called 'p': there are none" in ran.err.replace(" (", ": "),
    ) == (2, True)


def test_requests_give_way_and_come_back(bundle: Bundle, model: Any, tmp_path: Path) -> None:
    """More thoughts than the context holds beside the prefix: who is evicted forks anew."""
    wide = save(tmp_path / "wide.safetensors", made_up(model, 120), base_hash(bundle))
    with Reasoner.open(str(bundle.path), context=256, prefixes=[wide]) as reasoner:
        handles = [
            reasoner.submit(
                f"{i} + 3",
                strategy="think",
                think_budget=60,
                answer_budget=8,
                prefix="wide",
                priority=i,
                sampling=Sampling(temperature=1.5, seed=i),
            )
            for i in range(8)
        ]
        answers = [handle.result(60) for handle in handles]
        assert all(answer.usage.cached_tokens >= 120 for answer in answers)
        assert said(reasoner, "1 + 3", "wide").result(60).usage.cached_tokens >= 120


def test_threads_that_ask_at_once_load_it_once(bundle: Bundle) -> None:
    with (
        Reasoner.open(str(bundle.path), context=512) as reasoner,
        ThreadPoolExecutor(8) as pool,
    ):
        asked = [pool.submit(lambda: said(reasoner, "1 + 3", "p2", 2).result()) for _ in range(8)]
        assert len({one.result(60).answer for one in asked}) == 1
        assert reasoner._prefixes.get("p2").id == 1


@pytest.mark.parametrize("form", ["A", "B"])
def test_graphs_for_tensorrt_take_a_prefix(form: str, model: Any, tmp_path: Path) -> None:
    """Through the twin that runs them on the CPU."""
    gguf = exported(model, "llama", tmp_path, "gguf")
    folder = trt_twin.export(gguf.path / "model.gguf", tmp_path / "trt", form)
    engine = trt_twin.open_twin(open_bundle(folder), trt_twin.Config())
    kv, tokens = made_up(model, POSITIONS), list(range(40, 56))
    engine.load_prefix(3, *kv)
    assert engine.fork(3, 2, POSITIONS)
    engine.decode([(2, POSITIONS + i, token, i > 8) for i, token in enumerate(tokens)])
    found = np.stack([engine.logits(i) for i in range(9, 16)])
    np.testing.assert_allclose(found, expected(model, kv, tokens)[9:], atol=0.1)
