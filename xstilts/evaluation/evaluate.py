"""The evaluation job: one trained checkpoint's predictions for all targets and languages that it serves.

It writes XTREME submission files and one file of timings, nothing else: scores are computed from these files, without
torch.
"""

from __future__ import annotations

from pathlib import Path

from xstilts import files
from xstilts.evaluation import submission
from xstilts.evaluation.predict import Predictor
from xstilts.evaluation.timing import Clock
from xstilts.models import loading, runtime


def evaluate(
    spec: dict, model_dir: Path, checkpoint_dir: Path, examples_dir: Path, out_dir: Path, cost: Path, device="auto"
):
    """Write `<out_dir>/<target>/test-<language>.{tsv,json}` for every target and language of an `evaluate` spec.

    Examples come from `<examples_dir>/<target>/<language>/test.jsonl`; a file that is missing or holds none is a
    `UserError`. All languages of a target are predicted together, in batches of like length.
    """
    examples = {
        target: {
            language: files.read_jsonl(Path(examples_dir) / target / language / "test.jsonl")
            for language in entry["languages"]
        }
        for target, entry in spec["targets"].items()
    }
    model = loading.load(model_dir, checkpoint_dir, runtime.device(device))
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
        predictions = iter(predictor.predict([row for rows in examples[target].values() for row in rows]))
        for language, rows in examples[target].items():
            path = Path(out_dir) / target / submission.file_name(spec["kind"], language)
            submission.write_predictions(path, spec["kind"], rows, [next(predictions) for _ in rows])
        clock.lap(target, predictor.tokens)
    clock.write(cost)
