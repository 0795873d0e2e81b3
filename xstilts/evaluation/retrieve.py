"""The retrieval job: one encoder, no head, all languages of Tatoeba and BUCC.

It writes XTREME submission files and one file of timings, nothing else.
"""

from __future__ import annotations

from pathlib import Path

from xstilts import files
from xstilts.errors import UserError
from xstilts.evaluation import retrieval, submission
from xstilts.evaluation.timing import Clock
from xstilts.models import loading, runtime


def retrieve(
    spec: dict, model_dir: Path, encoder_dir: Path | None, examples_dir: Path, out_dir: Path, cost: Path, device="auto"
):
    """Write `<out_dir>/<target>/test-<language>.tsv` for every target and language of a `retrieval` spec.

    `encoder_dir` is the checkpoint after intermediate training, read unless the
    spec's intermediate is `none`. Option `mining` says
    how: `nearest` writes, for each English row, the index among the source rows (Tatoeba); `margin` writes pairs of
    ids above the threshold that is best on `dev.jsonl` (BUCC).
    """
    how = {"nearest": _nearest, "margin": _margin}
    for target, entry in spec["targets"].items():
        if entry["options"]["mining"] not in how:
            raise UserError(f"{target}: options: mining: {entry['options']['mining']!r}; allowed: {', '.join(how)}")
    encoder = None if spec["intermediate"] == "none" else encoder_dir
    model = loading.load(model_dir, encoder, runtime.device(device))
    clock = Clock(spec, None, model.device)
    for target, entry in spec["targets"].items():
        options = entry["options"]
        layer = retrieval.layer_at(options["relative_depth"], spec["model"]["layers"])
        settings = (options["pooling"], spec["max_length"], spec["precision"], spec["model"]["pre_norm"])
        embedder = retrieval.Embedder(model, layer, *settings)
        for language in entry["languages"]:
            path = Path(out_dir) / target / submission.file_name("retrieval", language)
            how[options["mining"]](embedder, options, Path(examples_dir) / target / language, path)
        clock.lap(target, embedder.tokens)
    clock.write(cost)


def _nearest(embedder, options, folder: Path, path: Path) -> None:
    source, target = (embedder([row["text"] for row in rows]) for rows in _sides(folder / "test.jsonl"))
    submission.write_labels(path, retrieval.nearest(target, source, embedder.device))


def _margin(embedder, options, folder: Path, path: Path) -> None:
    (dev, gold), (test, _) = (_mined(embedder, options, folder / f"{split}.jsonl") for split in ("dev", "test"))
    threshold, _ = retrieval.best_threshold(dev, gold)
    submission.write_pairs(path, retrieval.above(test, threshold))


def _mined(embedder, options, path: Path):
    source, target = _sides(path)
    gold = {(row["id"], row["match"]) for row in source if row["match"] is not None}
    return retrieval.mine(embedder, source, target, options["neighbours"]), gold


def _sides(path: Path) -> tuple[list[dict], list[dict]]:
    """The rows of the other language and the English rows, each in file order."""
    rows = files.read_jsonl(path)
    sides = tuple([row for row in rows if row["side"] == side] for side in ("source", "target"))
    if not all(sides):
        raise UserError(
            f"{path}: holds rows of one side only; retrieval needs source and target rows: prepare it again"
        )
    return sides
