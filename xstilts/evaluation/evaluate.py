"""The evaluation job: one trained checkpoint's predictions for all targets and languages that it serves.

It writes XTREME submission files and one file of timings, nothing else: scores are computed from these files, without
torch.
"""

from __future__ import annotations

from pathlib import Path

from xstilts import files
from xstilts.data import encodings
from xstilts.evaluation import submission
from xstilts.evaluation.predict import Predictor
from xstilts.evaluation.timing import Clock
from xstilts.models import loading, runtime


def evaluate(
    spec: dict,
    model_dir: Path,
    checkpoint_dir: Path,
    examples_dir: Path,
    out_dir: Path,
    cost: Path,
    device: str = "auto",
    work: Path | None = None,
) -> None:
    """Write `<out_dir>/<target>/test-<language>.{tsv,json}` for every target and language of an `evaluate` spec.

    Examples come from `<examples_dir>/<target>/<language>/test.jsonl`; a file that is missing or holds none is a
    `UserError`. All languages of a target are predicted together, in batches of like length. With `work`, encodings
    are kept there and taken from there: those of one model's checkpoints are the same.
    """
    paths = {
        target: {language: Path(examples_dir) / target / language / "test.jsonl" for language in entry["languages"]}
        for target, entry in spec["targets"].items()
    }
    examples = {
        target: {language: files.read_jsonl(path) for language, path in own.items()} for target, own in paths.items()
    }
    model = loading.load(model_dir, checkpoint_dir, runtime.device(device), runtime.lean(spec["precision"]))
    clock = Clock(spec, spec["training_task"], model.device)
    for target, entry in spec["targets"].items():
        predictor = Predictor(
            model,
            spec["training_task"],
            spec["kind"],
            spec["labels"],
            spec["hyper"],
            entry["options"],
            spec["precision"],
        )
        flat, own = [row for rows in examples[target].values() for row in rows], list(paths[target].values())
        task = {key: spec[key] for key in ("kind", "labels", "hyper")} | {"options": entry["options"]}
        features = encodings.features(task, own, model, spec.get("code", ""), work, training=False, examples=flat)
        predictions = iter(predictor.predict(flat, features))
        for language, rows in examples[target].items():
            path = Path(out_dir) / target / submission.file_name(spec["kind"], language)
            submission.write_predictions(path, spec["kind"], rows, [next(predictions) for _ in rows])
        clock.lap(target, predictor.tokens)
    clock.write(cost)
