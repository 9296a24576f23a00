"""57 subjects, several choices; only rows that its annotators found right (2406.04127)."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from .base import Item, Source

_SUBJECTS: Final = (
    "abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology "
    "college_chemistry college_computer_science college_mathematics college_medicine "
    "college_physics computer_security conceptual_physics econometrics electrical_engineering "
    "elementary_mathematics formal_logic global_facts high_school_biology high_school_chemistry "
    "high_school_computer_science high_school_european_history high_school_geography "
    "high_school_government_and_politics high_school_macroeconomics high_school_mathematics "
    "high_school_microeconomics high_school_physics high_school_psychology high_school_statistics "
    "high_school_us_history high_school_world_history human_aging human_sexuality "
    "international_law jurisprudence logical_fallacies machine_learning management marketing "
    "medical_genetics miscellaneous moral_disputes moral_scenarios nutrition philosophy prehistory "
    "professional_accounting professional_law professional_medicine professional_psychology "
    "public_relations security_studies sociology us_foreign_policy virology world_religions"
)
_AT: Final = "https://raw.githubusercontent.com/aryopg/mmlu-redux/4563cfa79b659d76716e5b6019f46bba85fa02db/mmlu_redux"
SOURCE = Source(tuple(f"{_AT}/mmlu_{subject}.csv" for subject in _SUBJECTS.split()), "CC BY 4.0")


def items(files: Sequence[Path]) -> Iterator[Item]:
    for subject, path in zip(_SUBJECTS.split(), files, strict=True):
        # Some files are set apart by semicolons; a few letters of one are of another encoding.
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            mark = ";" if file.readline().startswith("question;") else ","
            file.seek(0)
            for number, row in enumerate(csv.DictReader(file, delimiter=mark)):
                choices = tuple(map(str, ast.literal_eval(row["choices"])))
                if row["error_type"].lower() != "ok" or len(set(choices)) < len(choices):
                    continue
                answer = choices[int(row["answer"])]
                name = f"mmlu_redux-{subject}-{number}"
                extra = {"subject": subject}
                yield Item(name, row["question"], answer, "choice", choices, extra)
