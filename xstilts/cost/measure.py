"""How long a task's sequences are, measured on prepared examples: what xstilts/cost/lengths.csv is made by.

python -m xstilts.cost.measure NAME=RESULTS... --tokenizer FILE > lengths.csv

NAME is the kind of source (`real`, `embedded`), RESULTS a study's results folder with examples/. At most 2,000
examples a file are read (the first), encoded as training or prediction does. Run by hand, when a generator changes.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path

from xstilts import catalog as catalogs
from xstilts.cost.lengths import COLUMNS
from xstilts.files import read_jsonl

SAMPLE = 2000
PRESETS = {"train": ("jiant", "jiant-intermediate", "demo"), "test": ("jiant", "demo")}


def rows(name: str, results: Path, tokenizer, catalog: catalogs.Catalog) -> list[dict]:
    """One row a task, split and max_length: sums over the languages that are there."""
    found = []
    for folder in sorted((results / "examples").iterdir()):
        identity = catalog.tasks[folder.name].identity
        for split in ("train", "test"):
            examples = [one for path in sorted(folder.glob(f"*/{split}.jsonl")) for one in read_jsonl(path)[:SAMPLE]]
            trained = folder.name if split == "train" else identity["training_task"] or folder.name
            for length, hyper in _settings(catalog.tasks[trained].presets, split).items() if examples else ():
                row = {"source": name, "task": folder.name, "split": split, "max_length": length}
                found.append(row | _count(identity, examples, tokenizer, hyper, split == "train"))
    return found


def _settings(presets: dict, split: str) -> dict[int, dict]:
    """max_length -> the hyper-parameters of the first preset that has it."""
    found = {}
    for name in PRESETS[split]:
        if name in presets:
            found.setdefault(presets[name]["max_length"], presets[name])
    return found


def _count(identity: dict, examples: list[dict], tokenizer, hyper: dict, training: bool) -> dict:
    from xstilts.data import kinds

    if identity["kind"] == "retrieval":
        texts = tokenizer.encode_batch([one["text"] for one in examples])
        lengths = [min(len(one.ids), hyper["max_length"]) for one in texts]
    else:
        labels, options = list(identity.get("labels") or []), identity.get("options") or {}
        if identity["kind"] == "tagging" and not labels:  # an open tag set is what the data hold
            labels = sorted({tag for one in examples for tag in one["tags"]})
        kind = kinds.get(identity["kind"])
        features = kind.encode(examples, tokenizer, labels, hyper, options, training)
        # a choice is a sequence of its own to attention
        lengths = [length for one in features for length in one.get("lengths", [len(one["input_ids"])])]
        count = len(features)
    total = Counter(tokens=sum(lengths), squares=sum(length**2 for length in lengths))
    features = len(lengths) if identity["kind"] == "retrieval" else count
    return {"examples": len(examples), "features": features, **total}


def main() -> None:
    """Read the command line and print the table."""
    from tokenizers import Tokenizer

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("places", nargs="+", metavar="NAME=RESULTS")
    parser.add_argument("--tokenizer", required=True)
    arguments = parser.parse_args()
    tokenizer, catalog = Tokenizer.from_file(arguments.tokenizer), catalogs.load()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for place in arguments.places:
        name, _, results = place.partition("=")
        writer.writerows(rows(name, Path(results), tokenizer, catalog))


if __name__ == "__main__":
    main()
