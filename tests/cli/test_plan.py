"""`edgereason plan`, and taking its options in `run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgereason.config import parse_toml
from support.cli_runner import Cli

CONFIG = {
    **{"model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24},
    **{"num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864},
    **{"vocab_size": 151936, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6},
    **{"rope_theta": 1e6, "tie_word_embeddings": True},
}


def plans(cli: Cli, *args: str) -> list[dict[str, Any]]:
    ran = cli("plan", *args, "--json")
    assert ran.code == 0
    found: list[dict[str, Any]] = ran.json["plans"]
    return found


def trials(path: Path, way: str, lengths: list[int], num_right: int, model: str = "nano") -> None:
    with path.open("a") as file:
        for i, tokens in enumerate(lengths):
            told = {"model": model, "way": way, "question": f"q{i}", "prompt_tokens": 30}
            told |= {"reasoning_tokens": tokens, "answer_tokens": 5, "right": i < num_right}
            file.write(json.dumps(told) + "\n")


def test_a_device_that_is_not_here_and_a_model_that_was_not_downloaded(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "qwen2-0.5b").mkdir()
    config = tmp_path / "qwen2-0.5b" / "config.json"
    config.write_text(json.dumps(CONFIG))
    rows = plans(
        cli,
        str(config),
        *("--device", "jetson-orin-nano-super-8gb", "--watts", "15"),
        *("--formats", "q4_0,q8_0", "--ways", "no-think,think:128", "--deadline-ms", "800"),
    )
    assert {row["format"] for row in rows} == {"Q4_0", "Q8_0"}
    assert all("roofline" in row["p50_ms"]["source"] for row in rows)
    assert all(row["accuracy"] is None for row in rows)
    assert all("prompt" in row["notes"][0] for row in rows)
    best = rows[0]
    assert (best["format"], best["way"], best["reasons"]) == ("Q4_0", "no-think", [])
    # 494 M weights of 4.5 bits at 68.3 GB/s: 4 ms a token at the least.
    assert 31 * 4 < best["p50_ms"]["value"] < 31 * 16
    assert best["joules"]["source"] == "at most: 15 W allowed"
    assert rows[-1]["memory_gib"]["source"] == "computed from computed from its config.json"


def test_a_model_of_the_catalog_that_was_not_pulled(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    (row,) = plans(cli, "smollm2-135m", "--device", "generic-x86", "--ways", "no-think")
    assert row["p50_ms"]["source"].startswith("measured on generic-x86")
    assert row["memory_gib"] is None
    ran = cli("plan", "no-such-model")
    assert ran.code == 3


def test_trials_tell_lengths_and_accuracy(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    trials(path, "think", [40 + i % 20 for i in range(60)], 54)
    trials(path, "no-think", [0] * 60, 6)
    args = ("nano", "--device", "laptop-ddr4-3200", "--trials", str(path))
    rows = plans(cli, *args, "--ways", "no-think,think")
    assert [row["way"] for row in rows] == ["think", "no-think"]
    assert rows[0]["accuracy"]["value"] == pytest.approx(55 / 62, abs=0.01)
    assert rows[0]["thinking"] == "60 trials"
    shown = cli("plan", *args, "--ways", "no-think,think")
    assert shown.code == 0
    assert "on laptop-ddr4-3200" in shown.out
    assert "roofline" in shown.err
    unknown = cli("plan", "nano", "--device", "laptop-ddr4-3200", "--ways", "no-think")
    assert "right: unknown where no trial" in unknown.err


def test_a_plan_becomes_options_of_run(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEREASON_MODEL")  # it would win
    out = tmp_path / "plan.toml"
    rows = ("plan", "nano", "--device", "laptop-ddr4-3200", "--ways", "think:6")
    ran = cli(*rows, "--deadline-ms", "0.001", "--export", str(out))
    assert ran.code == 2
    assert "no plan fits, nothing is written: 100% would be late" in ran.err
    assert not out.exists()
    assert cli(*rows, "--deadline-ms", "60000", "--export", str(out)).code == 0
    written = parse_toml(out.read_text(), "plan.toml")
    assert written["run"] == {
        **{"model": "nano", "strategy": "think", "think-budget": 6, "deadline-ms": 60000.0}
    }
    assert written["serve"] == {"model": "nano", "max-think-tokens": 6}
    told = cli("--options", str(out), "run", "What is 2+3?", "--json").json
    assert told["model"] == "nano"
    assert told["budget"]["think_tokens"]["asked"] == 6
    assert told["budget"]["deadline_ms"]["asked"] == 60000
    typed = cli("--options", str(out), "run", "What is 2+3?", "--json", "--think-budget", "3").json
    assert typed["budget"]["think_tokens"]["asked"] == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[fly]\nhigh = 1", "has a table for no command: 'fly'"),
        ("[run]\nthink-buget = 1", "run has no option 'think-buget'"),
        ("[run", "is not TOML"),
        ("run = 1", "has a table for no command: 'run'"),
    ],
)
def test_options_that_nobody_knows(cli: Cli, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "options.toml"
    path.write_text(text)
    ran = cli("--options", str(path), "run", "What is 17 * 3?")
    assert ran.code == 2
    assert says in ran.err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--deadline-ms", "0"), "deadline_ms must be above 0, got 0"),
        (
            ("--ways", "think:x"),
            "a way is NAME, NAME:NUMBER or NAME:NUMBER:OPTION=VALUE, got 'think:x'",
        ),
        (("--formats", "q9"), "no format called 'q9'"),
        (("--device", "toaster"), "no device profile called 'toaster'"),
        (
            ("--device", "jetson-orin-nano-super-8gb", "--watts", "5"),
            "no power mode of 5 W or less",
        ),
        (("--answer-tokens", "0"), "answers of 1 token or more"),
    ],
)
def test_mistakes_are_named(cli: Cli, args: tuple[str, ...], says: str) -> None:
    ran = cli("plan", "nano", *args)
    assert ran.code == 2
    assert says in ran.err


def test_a_task_gives_prompts_and_picks_its_trials(cli: Cli, tmp_path: Path) -> None:
    task = tmp_path / "robot.jsonl"
    task.write_text('{"question": "' + "Which way? " * 100 + '"}\n')
    args = ("nano", "--device", "generic-x86", "--ways", "no-think")
    (short,) = plans(cli, *args)
    (long,) = plans(cli, *args, "--task", str(task))
    assert long["p50_ms"]["value"] > 1.5 * short["p50_ms"]["value"]
    path = tmp_path / "trials.jsonl"
    path.write_text(
        json.dumps(
            {"model": "nano", "way": "no-think", "question": "q", "task": "other",
             "prompt_tokens": 3, "reasoning_tokens": 0, "answer_tokens": 2}
        ) + "\n"
    )  # fmt: skip
    ran = cli("plan", *args, "--task", str(task), "--trials", str(path))
    assert ran.code == 2
    assert "no trial is of the task robot" in ran.err
