"""Training of prefixes on tiny models: the decoder is transformers', the loss falls, a stopped run
goes on as if nothing had happened."""

# What it tests imports torch, so skipping comes first.
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="prefixes are trained with torch")
transformers = pytest.importorskip("transformers", reason="the decoder is compared with it")
pytest.importorskip("gguf", reason="models are read with it")

from edgereason.errors import UnsupportedError, UsageError
from edgereason.export.job import Job, export
from edgereason.export.prefixes.demos import Demo, encode
from edgereason.export.prefixes.distill import Options, distill, drawn
from edgereason.export.prefixes.torch_decoder import KNOWN, Decoder
from edgereason.export.sources.open import open_source
from edgereason.models.bundle import open_bundle
from edgereason.models.prefix_file import base_hash, read_prefix
from edgereason.records import Message
from support.cli_runner import Cli
from support.hf_models import KINDS, build_model, save_model

TRAINABLE = [kind for kind in KINDS if kind.rstrip("3") == "llama" or kind in KNOWN]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "llama", "llama")


@pytest.fixture
def demos(tmp_path: Path) -> Path:
    lines = [
        {"prompt": f"{a} # {b}", "reply": str((2 * a + b) % 10)} for a in range(5) for b in (1, 2)
    ]
    path = tmp_path / "demos.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return path


def quiet(stage: str, done: int, total: int) -> None:
    pass


@pytest.mark.parametrize("kind", TRAINABLE)
def test_a_prefix_means_what_transformers_makes_of_it(kind: str, tmp_path: Path) -> None:
    """Both its own and a made-up one: keys as a DynamicCache holds them."""
    model = build_model(kind)
    with open_source(save_model(tmp_path, kind)) as source:
        decoder = Decoder(source)
    draw = torch.Generator().manual_seed(3)
    ids = torch.randint(0, 400, (2, 9), generator=draw)
    front = [
        (key + 0.1 * torch.randn(key.shape, generator=draw), value)
        for key, value in decoder.extend(torch.randint(0, 400, (5,), generator=draw), None)
    ]
    cache = transformers.DynamicCache()
    for i, pair in enumerate(front):
        cache.update(*(part.expand(2, -1, -1, -1) for part in pair), i)
    with torch.no_grad():
        found = decoder.logits(decoder.hidden(ids, front, torch.arange(18)))
        expected = model(ids, past_key_values=cache, attention_mask=torch.ones(2, 14)).logits
    np.testing.assert_allclose(found.view(2, 9, -1), expected, atol=3e-5)


def test_the_loss_falls_and_a_stopped_run_goes_on_bit_by_bit(
    llama: Path, demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(4, steps=30, batch=4, threads=1)
    with open_source(llama) as source:
        whole = distill(source, demos, tmp_path / "a.safetensors", options, quiet, force=False)
        assert whole.training["loss"] < 0.75 * whole.training["loss_begin"]
        assert whole.base == source.base_hash
        assert whole.shape == (2, 2, 4, 16)

        monkeypatch.setattr("edgereason.export.prefixes.distill._SAVE_S", 0.0)

        def stops(stage: str, done: int, total: int) -> None:
            if done == 11:
                raise KeyboardInterrupt

        out = tmp_path / "b.safetensors"
        with pytest.raises(KeyboardInterrupt):
            distill(source, demos, out, options, stops, force=False)
        other = Options(4, steps=31, batch=4, threads=1)
        with pytest.raises(UsageError, match="another training"):
            distill(source, demos, out, other, quiet, force=False)
        steps: list[int] = []
        again = distill(
            source, demos, out, options, lambda stage, done, total: steps.append(done), force=False
        )
        assert steps[0] == 12
    for a, b in zip((*whole.keys, *whole.values), (*again.keys, *again.values), strict=True):
        np.testing.assert_array_equal(a, b)
    log = [json.loads(line)["step"] for line in out.with_suffix(".jsonl").read_text().splitlines()]
    assert log == list(range(1, 31))
    assert not list(tmp_path.glob("*.checkpoint"))


def test_every_demonstration_comes_once_a_round(llama: Path) -> None:
    with open_source(llama) as source:
        examples = encode(source, [Demo((Message("user", str(i)),), "x") for i in range(10)], None)
    options = Options(4, batch=4)
    seen = [one for step in range(5) for one in drawn(examples, options, step)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == sorted(examples)
    assert seen[:10] != seen[10:]
    assert drawn(examples, Options(4, batch=25), 0)[:10] == seen[:10]


def test_prompts_are_those_of_the_runtime(llama: Path) -> None:
    """What the prompt has opened the reply does not write again; the reply ends the turn."""
    demo = Demo((Message("user", "12"),), "<think>\nso\n</think>\n\n42")
    with open_source(llama) as source:
        (example,) = encode(source, [demo], None)
        tokens = {text: i for i, text in enumerate(source.vocabulary["tokenizer.ggml.tokens"])}
        end = tokens["<|im_end|>"]
        assert example.tokens[-1] == end
        assert example.tokens.count(tokens["<think>"]) == 1
        assert tokens["</think>"] in example.tokens[example.begin :]
        (plain,) = encode(source, [Demo(demo.messages, "42")], None)
        assert plain.tokens[plain.begin :][-1] == end
        assert len(plain.tokens) - plain.begin == 3


def test_exports_carry_the_hash_of_what_they_were_made_of(llama: Path, tmp_path: Path) -> None:
    with open_source(llama) as source:
        first = source.base_hash
        made = export(source, Job("gguf", tmp_path / "f16", {"quant": "f16"})).bundle
    assert base_hash(made) == base_hash(open_bundle(tmp_path / "f16" / "model.gguf")) == first
    with open_source(tmp_path / "f16") as source:
        assert source.base_hash == first
        again = export(source, Job("gguf", tmp_path / "q8", {"quant": "q8_0"})).bundle
    assert base_hash(again) == first


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "holds no demonstrations"),
        ("{", "line 1 of d.jsonl is not JSON"),
        ('{"prompt": "a"}', "has no reply"),
        ('{"reply": "a"}', "either a prompt or messages"),
        ('{"messages": [], "reply": "a"}', "messages are no list"),
        ('{"messages": [3], "reply": "a"}', "must be an object"),
        ('{"prompt": "' + "12 " * 300 + '", "reply": "a"}', "more than the 256"),
    ],
)
def test_wrong_demonstrations(
    llama: Path, tmp_path: Path, lines: str, message: str, cli: Cli
) -> None:
    (tmp_path / "d.jsonl").write_text(lines, encoding="utf-8")
    ran = cli(
        *("distill-prefix", "--base", str(llama), "--demos", str(tmp_path / "d.jsonl")),
        *("--slots", "4", "--out", str(tmp_path / "x.safetensors")),
    )
    assert ran.code == 2
    assert message in ran.err
    assert not (tmp_path / "x.safetensors").exists()


def test_the_command(llama: Path, demos: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "skill.safetensors"
    line = ["distill-prefix", "--base", str(llama), "--demos", str(demos), "--out", str(out)]
    made = cli(*line, "--slots", "2", "--steps", "3", "--batch", "2", "--json").json
    assert made["slots"] == 2
    assert read_prefix(out).name == "skill"
    again = cli(*line, "--slots", "2")
    assert (again.code, "is there already" in again.err) == (2, True)
    for wrong in (
        ("--slots", "0"),
        ("--slots", "2", "--lr", "0"),
        ("--slots", "2", "--steps", "0"),
    ):
        assert cli(*line, *wrong, "--force").code == 2


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    with (
        open_source(save_model(tmp_path, "gpt2")) as source,
        pytest.raises(UnsupportedError, match="gpt2"),
    ):
        Decoder(source)


def test_missing_torch_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    blocked: Any = None
    monkeypatch.setitem(sys.modules, "torch", blocked)
    monkeypatch.delitem(sys.modules, "edgereason.export.prefixes.distill", raising=False)
    monkeypatch.delitem(sys.modules, "edgereason.export.prefixes.torch_decoder", raising=False)
    line = ("distill-prefix", "--base", "x", "--demos", "y", "--slots", "2", "--out", "z")
    ran = cli(*line)
    assert (ran.code, "recipes" in ran.err) == (2, True)
