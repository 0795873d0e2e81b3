"""The job `check_data`: data.csv and pieces.csv of a study, from its prepared examples and its models' tokenizers."""

from __future__ import annotations

from pathlib import Path

from xstilts.analysis import tables
from xstilts.datasheet.data import Seen, row
from xstilts.datasheet.pieces import Tokenizers
from xstilts.files import read_jsonl

SPLITS = ("train", "dev", "test")  # leaks are looked for in what was read before


def check_data(spec: dict, examples_dir: Path, models_dir: Path, out_dir: Path) -> dict[str, list[dict]]:
    """Write data.csv (a row a task, language, split) and pieces.csv (a row a model, task, language, split).

    `spec["data"]`: one entry a prepare job, {task, kind, labels, training_task, files: [[language, split]]}. Raises
    UserError for an examples file or tokenizer that is missing or broken. Returns the rows by table.
    """
    tokenizers, seen = Tokenizers(spec, models_dir), Seen()
    data, pieces = [], []
    for split in SPLITS:
        for part in spec["data"]:
            for language in [code for code, name in part["files"] if name == split]:
                examples = read_jsonl(Path(examples_dir, part["task"], language, f"{split}.jsonl"))
                data.append(row(part, language, split, examples, seen))
                pieces += tokenizers.rows(part, language, split, examples)
    order = {task: place for place, task in enumerate(dict.fromkeys(part["task"] for part in spec["data"]))}
    data.sort(key=lambda one: order[one["task"]])
    pieces.sort(key=lambda one: (list(spec["models"]).index(one["model"]), order[one["task"]]))
    result = {"data": data, "pieces": pieces}
    for name, rows in result.items():
        tables.write(name, rows, Path(out_dir))
    return result
