"""Maps from scores to chances: against known truths, and where they are kept."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgereason.errors import BundleError, UsageError
from edgereason.models.bundle import open_bundle
from edgereason.planning import calibration
from edgereason.planning.calibration import FEW, Calibration, Scores
from support.places import SCRIPTED

points = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 0.95, 1.0]), st.booleans()),
    min_size=1,
    max_size=160,
).map(lambda drawn: Scores(tuple(drawn)))


@given(points, st.floats(0, 1), st.floats(0, 1))
def test_a_surer_answer_never_has_a_lower_chance(scores: Scores, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert scores.chance(low).value <= scores.chance(high).value + 1e-9


@given(points, st.floats(0, 1))
def test_the_chance_lies_in_its_interval(scores: Scores, score: float) -> None:
    chance = scores.chance(score)
    assert 0 <= chance.low <= chance.value + 1e-9
    assert chance.value <= chance.high + 1e-9 <= 1 + 2e-9


def drawn(num: int, seed: int) -> Scores:
    """An over-confident model: the chance is what is left of the logit after 1."""
    rng = random.Random(seed)
    scores = [rng.uniform(0.05, 0.99) for _ in range(num)]
    return Scores(tuple((score, rng.random() < truth(score)) for score in scores))


def truth(score: float) -> float:
    return 1 / (1 + math.exp(1 - math.log(score / (1 - score))))


@pytest.mark.parametrize(("num", "most"), [(60, 0.12), (FEW, 0.12), (400, 0.08)])
def test_it_finds_a_known_truth(num: int, most: float) -> None:
    """Root mean square error, mean of 10 draws. Uncorrected, the scores are 0.17 off."""
    grid = [0.1 * step for step in range(1, 10)]
    raw = math.sqrt(sum((score - truth(score)) ** 2 for score in grid) / len(grid))
    errors = []
    for seed in range(10):
        scores = drawn(num, seed)
        squares = [(scores.chance(score).value - truth(score)) ** 2 for score in grid]
        errors.append(math.sqrt(sum(squares) / len(grid)))
    assert sum(errors) / len(errors) < most < raw


def test_isotonic_regression_by_hand() -> None:
    data = [(0.1, False), (0.2, True), (0.3, False), (0.4, True)]
    fit = [calibration._isotonic_at(data, score) for score, _ in data]
    assert fit == [0.0, 0.5, 0.5, 1.0]


def test_without_labels_nothing_is_known() -> None:
    assert Scores(()).chance(0.7) == calibration.Chance(0.7, 0.0, 1.0)


def test_a_score_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a score must be in \[0, 1\], got 1.5"):
        Scores(((1.5, True),))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    return tmp_path


def test_it_is_kept_beside_the_models_and_found_again(cache: Path) -> None:
    bundle = open_bundle(SCRIPTED)
    assert calibration.load(bundle) is None
    ways = {"bare": Scores(((0.25, False), (0.75, True)), 4.5)}
    known = Calibration("scripted", "q.jsonl", 2, "answers", (("bare", 0.75),), ways, "of 2: ...")
    path = calibration.save(bundle, known)
    assert cache in path.parents
    assert calibration.load(bundle) == known
    # Another prompt, another measurement.
    assert calibration.load(replace(bundle, chat_template=bundle.chat_template + " ")) is None


@pytest.mark.parametrize("text", ["{", '{"model": 1}', '{"moddel": ""}'])
def test_a_spoiled_file_is_an_error_with_a_way_out(cache: Path, text: str) -> None:
    bundle = open_bundle(SCRIPTED)
    path = calibration.path_of(bundle)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(BundleError, match=r"calibration .* cannot be read.*\(delete it"):
        calibration.load(bundle)
