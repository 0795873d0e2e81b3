"""Gold files in the layout of XTREME's label folder, so that its own `evaluate.py` can read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts.evaluation import submission


def write_gold(
    gold_dir: str | Path, task: str, kind: str, options: dict, language: str, examples: Sequence[dict]
) -> Path:
    """Write gold/<task>/test-<language>.{tsv,json} of normalised test examples; return its path.

    pair, choice: a label a line; tagging: tags alone; span_qa: SQuAD-like; retrieval `mining: margin`: id pairs in
    order of the source rows; `nearest`: for each target row in file order the 0-based index of its partner among the
    source rows.
    """
    path = Path(gold_dir, task, submission.file_name(kind, language))
    if kind == "tagging":
        submission.write_tags(path, [example["tags"] for example in examples])
    elif kind == "span_qa":
        submission.write_gold_answers(path, examples)
    elif kind == "retrieval" and options["mining"] == "margin":
        sources = [row for row in examples if row["side"] == "source" and row["match"] is not None]
        submission.write_pairs(path, [(row["id"], row["match"]) for row in sources])
    elif kind == "retrieval":
        order = {row["id"]: index for index, row in enumerate(row for row in examples if row["side"] == "source")}
        submission.write_labels(path, [order[row["match"]] for row in examples if row["side"] == "target"])
    else:
        submission.write_labels(path, [example["label"] for example in examples])
    return path
