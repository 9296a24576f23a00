"""`export diff`: how far two models lie apart, against sums written plainly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgereason.errors import UnsupportedError
from edgereason.export.compare.logits import compare, open_engines
from edgereason.models.bundle import Bundle, open_bundle
from support.cli_runner import Cli
from support.tiny_models import write_model


def silent(stage: str, done: int, total: int) -> None:
    pass


def tiny(folder: Path, name: str, kind: str = "dense", noise: float = 0.0) -> Bundle:
    path = write_model(folder / f"{name}.gguf", kind)
    if noise:
        raw = bytearray(path.read_bytes())
        at = len(raw) - 64 * 128 * 4  # the last matrix of the last layer
        rows = np.frombuffer(raw, "<f4", 64 * 128, at).copy()
        rows += noise * np.random.default_rng(1).standard_normal(rows.shape).astype(np.float32)
        raw[at:] = rows.tobytes()
        path.write_bytes(raw)
    return open_bundle(path)


def test_a_model_is_itself(tmp_path: Path) -> None:
    bundle = tiny(tmp_path, "one")
    rng = np.random.default_rng(0)
    windows = [rng.integers(0, 256, num).tolist() for num in (70, 64, 5)]
    first, second = compare(open_engines([bundle, bundle]), windows, silent)
    assert first == second
    assert (first.largest, first.kl_mean, first.kl_max, first.same_top) == (0, 0, 0, 1)
    assert (first.num_tokens, first.num_scored) == (139, 136)


def test_figures_are_those_of_the_logits(tmp_path: Path) -> None:
    bundles = [tiny(tmp_path, "one"), tiny(tmp_path, "two", noise=0.3)]
    tokens = np.random.default_rng(0).integers(0, 256, 40).tolist()
    opened = open_engines(bundles)
    first, second = compare(opened, [tokens], silent)

    logits = []
    for engine in opened:  # one token a step, in float64
        rows = []
        for pos, token in enumerate(tokens):
            engine.decode([(1, pos, token, True)])
            row = engine.logits(0)
            assert row is not None
            rows.append(row.astype(np.float64))
        logits.append(np.stack(rows))
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in logits)
    kl = (p * np.log(p / q)).sum(-1)
    scored = q[np.arange(39), tokens[1:]]
    assert second.largest == pytest.approx(np.abs(logits[0] - logits[1]).max(), rel=1e-2)
    assert second.kl_mean == pytest.approx(kl.mean(), rel=1e-2)
    assert second.kl_p99 == pytest.approx(np.quantile(kl, 0.99), rel=1e-2)
    assert second.kl_max == pytest.approx(kl.max(), rel=1e-2)
    assert second.same_top == (p.argmax(-1) == q.argmax(-1)).mean() < 1
    assert second.perplexity == pytest.approx(np.exp(-np.log(scored).mean()), rel=1e-3)
    assert first.kl_max == 0
    assert kl.mean() > 1e-3


def test_other_words_are_refused(tmp_path: Path) -> None:
    other = tiny(tmp_path, "other").path
    raw = other.read_bytes()
    word = b"\x02\0\0\0\0\0\0\0he"
    assert raw.count(word) == 1
    other.write_bytes(raw.replace(word, word[:-1] + b"a"))
    with pytest.raises(UnsupportedError, match="token 256 is 'he' in the first, 'ha'"):
        open_engines([tiny(tmp_path, "one"), open_bundle(other)])


def test_the_command_tells_what_was_found(cli: Cli, tmp_path: Path) -> None:
    one, two = (str(tiny(tmp_path, name, noise=noise).path) for name, noise in (("a", 0), ("b", 1)))
    same = cli("export", "diff", one, one, "--tokens", "50", "--json").json
    assert same["num_tokens"] == 50
    assert same["kl_max"] == same["largest"] == 0
    (tmp_path / "text.txt").write_text("he said no. " * 10)
    text = ("--text", str(tmp_path / "text.txt"))
    other = cli("export", "diff", one, two, *text, "--json").json
    assert other["kl_mean"] > 0
    assert other["first_perplexity"] != other["perplexity"]
    shown = cli("export", "diff", one, two, *text)
    assert shown.code == 0
    assert f"{other['same_top']:.2%}" in shown.out


def test_what_cannot_be_compared_is_told(cli: Cli, tmp_path: Path) -> None:
    one = str(tiny(tmp_path, "one").path)
    for arguments, says in (
        ((one, one, "--tokens", "1"), "tokens must be 2 or more, got 1"),
        ((one, one, "--text", str(tmp_path / "none")), "cannot read"),
        ((one, str(tmp_path / "none.gguf")), "none.gguf"),
    ):
        ran = cli("export", "diff", *arguments)
        assert ran.code in (2, 3)
        assert says in ran.err
