"""`edgereason export steer`: directions from replies, and that they act where they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

from edgereason import _core, engines
from edgereason.errors import UsageError
from edgereason.export.offline import quiet
from edgereason.export.prefixes.steer import Options, steer
from edgereason.export.prefixes.torch_decoder import Decoder
from edgereason.export.sources.open import open_source
from edgereason.models.bundle import open_bundle
from edgereason.models.steering_file import read_steering
from edgereason.prompt.lowering import lower
from edgereason.records import Phase, Segment
from edgereason.registry import load
from support.cli_runner import Cli
from support.tiny_models import EMBD, LAYERS, write_model

TOKENS = [104, 101, 32, 115, 97, 105, 100]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("steer") / "tiny.gguf", "dense")


def replies(path: Path, *texts: str) -> Path:
    lines = [json.dumps({"prompt": "How?", "reply": text}) for text in texts]
    path.write_text("\n".join(lines))
    return path


def test_residuals_lead_to_the_hidden_states(model: Path) -> None:
    with open_source(model) as source:
        decoder = Decoder(source)
        ids = torch.tensor(TOKENS)
        left = decoder.residuals(ids)
        assert left.shape == (LAYERS, len(TOKENS), EMBD)
        normed = decoder._norm(left[-1], "output_norm")
        logits = decoder.logits(normed)[-1].numpy()
    module = load(engines, "llamacpp")
    engine = module.open(open_bundle(model), module.Config(context=256, sequences=4))
    engine.decode([(0, i, token, i + 1 == len(TOKENS)) for i, token in enumerate(TOKENS)])
    found = engine.logits(len(TOKENS) - 1)
    assert np.abs(found - logits).max() < 0.02


def test_the_engine_adds_a_row_behind_the_layer_that_torch_calls_so(model: Path) -> None:
    rows = np.zeros((LAYERS, EMBD), np.float32)
    rows[-1] = np.random.default_rng(2).standard_normal(EMBD)
    with open_source(model) as source:
        decoder = Decoder(source)
        left = decoder.residuals(torch.tensor(TOKENS))[-1, -1] + torch.from_numpy(rows[-1])
        wanted = decoder.logits(decoder._norm(left[None], "output_norm"))[0].numpy()
        plain = decoder.residuals(torch.tensor(TOKENS))[-1, -1]
        unsteered = decoder.logits(decoder._norm(plain[None], "output_norm"))[0].numpy()
    module = load(engines, "llamacpp")
    engine = module.open(open_bundle(model), module.Config(context=256, sequences=4))
    core = _core.Scheduler(engine)
    core.add_adapters(5, steering=rows)
    core.run(
        core.open(context_key=5), lower(Phase("answer", fresh=(Segment("he"),), budget=2), engine)
    )
    while core.step():
        core.take(0)
    engine.decode([(3, i, token, i + 1 == len(TOKENS)) for i, token in enumerate(TOKENS)])
    found: Any = engine.logits(len(TOKENS) - 1)
    assert np.abs(found - wanted).max() < 0.02
    assert np.abs(unsteered - wanted).max() > 0.2


def test_a_direction_leads_from_one_set_to_the_other(model: Path, tmp_path: Path) -> None:
    toward, away = replies(tmp_path / "a", "yes", "yes!"), replies(tmp_path / "b", "no no no")
    with open_source(model) as source:
        made = steer(source, toward, away, Options(), quiet)
        back = steer(source, away, toward, Options(), quiet)
        with pytest.raises(UsageError, match="layers must lie in 1 to 1"):
            steer(source, toward, away, Options(layers=(1, 2)), quiet)
        with pytest.raises(UsageError, match="the same states"):
            steer(source, toward, toward, Options(), quiet)
    assert made.made_for == "llama"
    assert made.rows.shape == (LAYERS, EMBD)
    assert not made.rows[0].any()
    cosine = made.rows[1] @ back.rows[1] / np.linalg.norm(made.rows[1]) ** 2
    assert cosine < -0.5  # the lengths differ a little, the direction does not
    np.testing.assert_allclose(
        made.rows[1] / np.linalg.norm(made.rows[1]),
        -back.rows[1] / np.linalg.norm(back.rows[1]),
        atol=1e-5,
    )


def test_the_command(cli: Cli, model: Path, tmp_path: Path) -> None:
    toward, away = replies(tmp_path / "a", "yes"), replies(tmp_path / "b", "no no no")
    out = tmp_path / "v.gguf"
    made = ["export", "steer", str(model), "--toward", str(toward), "--away", str(away)]
    assert cli(*made, "--out", str(out), "--json").json["layers"] == [1]
    assert read_steering(out).rows.shape == (LAYERS, EMBD)
    assert cli(*made, "--out", str(out)).code == 2
    assert cli(*made, "--out", str(out), "--force", "--layers", "one").code == 2
    assert cli(*made, "--out", str(out), "--force", "--layers", "1-1").code == 0


def test_the_first_tokens_alone_may_be_compared(model: Path, tmp_path: Path) -> None:
    def made(toward: str, away: str, tokens: int) -> Any:
        options = Options(thinking=False, tokens=tokens)
        files = replies(tmp_path / "to.jsonl", toward), replies(tmp_path / "from.jsonl", away)
        with open_source(model) as source:
            return steer(source, *files, options, quiet).rows

    short, long = "yes", "no, I think not"
    assert (made(short, long, 3) == made(short, long[:3], 3)).all()
    assert (made(short, long, 3) != made(short, long, 0)).any()
    with pytest.raises(UsageError, match="both sets leave the same states"):
        made("no", long, 2)
    with pytest.raises(UsageError, match="tokens must be 0 "):
        made(short, long, -1)
