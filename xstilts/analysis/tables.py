"""The columns of a study's tables and how their values are written, so that equal runs give equal bytes.

Scores are written in full (the shortest digits that read back as the same number): `xstilts score` of the same files
gives the same number. Other values have fixed digits. `data` and `pieces` are written by `xstilts.datasheet`.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from xstilts.files import write_text

COLUMNS = {
    "scores": "model parameters non_embedding_parameters intermediate target language seed metric value n selection "
    "task_version model_revision data_fingerprint",
    "baselines": "target language baseline metric value n",
    "retrieval": "model intermediate seed target language split direction layer rule metric value n",
    "robustness": "model intermediate target language seed attack mode n skipped clean attacked success_rate queries "
    "perturbed similarity broken unreadable ci_low ci_high source success_low success_high "
    "vanished refused timed_out",
    "robustness_changes": "attack mode source model intermediate target language change change_low change_high p "
    "p_holm drop_change drop_low drop_high n_examples n_seeds method",
    "transfer": "attack target source model intermediate n success_rate success_low success_high attacked",
    "comparisons": "model intermediate baseline target language gain ci_low ci_high p p_holm n_examples n_seeds method",
    "scaling": "family target intermediate measure n_sizes slope ci_low ci_high status why",
    "claims": "claim measure published source value ci_low ci_high verdict why",
    "cost": "stage model intermediate target seed device seconds tokens tokens_per_s peak_memory_mb devices "
    "device_hours",
    "data": "task language split n label_balance majority duplicates conflicts overlap_train overlap_with overlap_dev "
    "context_train context_with characters_mean characters_median characters_max",
    "pieces": "model task language split n sampled pieces_mean pieces_p95 pieces_max pieces_per_word unknown "
    "empty_words boundary_first over_length",
}
COLUMNS = {name: columns.split() for name, columns in COLUMNS.items()}
EXACT = {(name, "value") for name in ("scores", "baselines", "retrieval")}
DIGITS = {
    "unknown": 4,
    "perturbed": 4,
    "similarity": 4,
    "seconds": 1,
    "device_hours": 4,
    "tokens_per_s": 1,
    "peak_memory_mb": 0,
}


def write(name: str, rows: list[dict], results: Path) -> None:
    """Write one table in its contract's columns; rows keep their order, absent values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS[name])
    for row in rows:
        unknown = set(row) - set(COLUMNS[name])
        assert not unknown, f"{name}.csv has no column {sorted(unknown)}"
        writer.writerow([_text(name, column, row.get(column)) for column in COLUMNS[name]])
    write_text(results / f"{name}.csv", text.getvalue())


def _text(name: str, column: str, value) -> str:
    if value is None:
        return ""
    if (name, column) in EXACT:
        return repr(float(value))
    if isinstance(value, float) and column in ("p", "p_holm"):
        return f"{max(value, 1e-300):.2e}" if value < 0.001 else f"{value:.4f}"
    if isinstance(value, float):
        text = f"{value:.{DIGITS.get(column, 2)}f}"
        return text.removeprefix("-") if float(text) == 0 else text
    return str(value)


def read(name: str, results: Path) -> list[dict]:
    """Rows of one table: numbers as int or float, empty fields as None."""
    with open(results / f"{name}.csv", encoding="utf-8", newline="") as handle:
        return [{key: _value(key, text) for key, text in row.items()} for row in csv.DictReader(handle)]


TEXT = {"model_revision", "data_fingerprint", "task_version", "published", "why", "measure", "source", "method"}


def _value(column: str, text: str):
    if text == "":
        return None
    if column in TEXT:
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
