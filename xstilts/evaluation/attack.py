"""The attack job: one attack on one cell, on all its targets and languages."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from xstilts import files
from xstilts.attacks import engine
from xstilts.attacks.outcomes import FAILED, SKIPPED, SUCCEEDED, Outcome
from xstilts.errors import UserError
from xstilts.evaluation.victims import PredictorVictim, RetrievalVictim

NEEDED = {
    "pair": ("id", "text_a", "text_b", "label"),
    "tagging": ("id", "tokens", "tags"),
    "span_qa": ("id", "context", "question", "answers"),
    "retrieval": ("id", "side", "text", "match"),
}
ENGLISH = "en"


@dataclass(frozen=True)
class Attacker:
    """One attack on one loaded model (a `models.loading.TaskModel` of `layers` blocks).

    `identity`: the attack's catalog identity; `languages`: rows of catalog/languages.yaml by code; `examples`: how many
    a language (None: all), sampled by a hash of `seed` and their ids, so that every model gets the same.
    """

    model: object
    layers: int
    identity: dict
    languages: dict
    examples: int | None
    seed: int
    precision: str
    pre_norm: bool = False

    def __call__(self, rows: list[dict], entry: dict, language: str) -> tuple[list[Outcome], int]:
        """(outcomes, tokens put through the model) of one target's examples in one language.

        `entry`: the target's kind, labels, options, hyper and training_task, as in an `attack` spec.
        """
        from xstilts.evaluation.predict import inference

        with inference(self.model, self.precision):  # so that the weights are cast once, not for every query
            attack = self._retrieval if entry["kind"] == "retrieval" else self._prediction
            return attack(rows, entry, language)

    def _prediction(self, rows: list[dict], entry: dict, language: str) -> tuple[list[Outcome], int]:
        """The kinds with a trained head."""
        from xstilts.evaluation.predict import Predictor

        kind, labels, options = entry["kind"], entry["labels"], entry["options"]
        predictor = Predictor(self.model, entry["training_task"], kind, labels, entry["hyper"], options, self.precision)
        victim = PredictorVictim(predictor.predict, self.model.tokenizer, kind, labels, options, language)
        return self._attack(rows, victim, kind, language), predictor.tokens

    def _retrieval(self, rows: list[dict], entry: dict, language: str) -> tuple[list[Outcome], int]:
        """Tatoeba (`mining: nearest`): English queries, the other language is the pool. BUCC: the other way round."""
        from xstilts.evaluation.embedding import Embedder, layer_at

        nearest, hyper = entry["options"]["mining"] == "nearest", entry["hyper"]
        layer = layer_at(hyper["layer"], self.layers)
        embedder = Embedder(self.model, hyper["pooling"], hyper["max_length"], self.precision, self.pre_norm)
        side = "target" if nearest else "source"
        pool = [row for row in rows if row["side"] != side]
        partners = {row["id"] for row in pool}
        queries = [row for row in rows if row["side"] == side and row["match"] in partners]

        def embed(texts: list[str]):
            return embedder.embed(texts, [layer])[layer]

        victim = RetrievalVictim(embed, self.model.tokenizer, pool, counts=not nearest)
        return self._attack(queries, victim, "retrieval", ENGLISH if nearest else language), embedder.tokens

    def _attack(self, rows: list[dict], victim, kind: str, language: str) -> list[Outcome]:
        if self.examples is not None:
            ids = set(engine.sample([row["id"] for row in rows], self.examples, self.seed))
            rows = [row for row in rows if row["id"] in ids]
        return engine.attack(rows, victim, self.identity, kind, self.languages[language], self.seed)


def run(
    spec: dict,
    model_dir: Path,
    encoder_dir: Path | None,
    targets_dir: Path,
    examples_dir: Path,
    out_dir: Path,
    cost: Path,
    device: str = "auto",
) -> None:
    """Write `<out_dir>/<target>/<language>.jsonl`, one row an example (`Outcome.row`), for an `attack` spec.

    A checkpoint `<targets_dir>/<training task>` is loaded once for all targets it serves; retrieval targets use
    `encoder_dir`, or the plain model where the spec's intermediate is `none`.
    """
    from xstilts.evaluation.timing import Clock
    from xstilts.models import loading, runtime

    name = spec["attack"]["name"]
    for target, entry in spec["targets"].items():
        engine.check(spec["attack"], entry["kind"], f"catalog/attacks/{name}.yaml: target {target}")
    clock, place = None, runtime.device(device)
    encoder = None if spec["intermediate"] == "none" else encoder_dir
    by_task: dict[str | None, list[str]] = {}
    for target, entry in spec["targets"].items():
        by_task.setdefault(entry["training_task"], []).append(target)
    tokenizer = None
    for task, targets in by_task.items():
        model = attacker = None  # not two models at a time
        checkpoint = Path(targets_dir) / task if task else encoder
        model = loading.load(model_dir, checkpoint, place, runtime.lean(spec["precision"]))
        clock = clock or Clock(spec, None, place)  # what came before is start-up
        model.tokenizer = tokenizer = tokenizer or model.tokenizer  # one for all models: reading it takes 0.6 s
        attacker = Attacker(
            model, spec["model"]["layers"], spec["attack"], spec["languages"], spec["examples"], spec["attack_seed"],
            spec["precision"], spec["model"]["pre_norm"],
        )  # fmt: skip
        for target in targets:
            for language in spec["targets"][target]["languages"]:
                began = time.perf_counter()
                rows = read(Path(examples_dir) / target / language / "test.jsonl", spec["targets"][target])
                outcomes, used = attacker(rows, spec["targets"][target], language)
                files.write_jsonl(Path(out_dir) / target / f"{language}.jsonl", (one.row() for one in outcomes))
                clock.tokens += used
                print(
                    f"{name} {target} {language}: {summary(outcomes)}; {time.perf_counter() - began:.1f} s", flush=True
                )
    clock.write(cost)


def read(path: Path, entry: dict) -> list[dict]:
    """Examples of one file; UserError where one lacks a field of its kind or has a label that the task does not."""
    rows = files.read_jsonl(path)
    for number, row in enumerate(rows, 1):
        missing = [name for name in NEEDED[entry["kind"]] if name not in row]
        if missing:
            raise UserError(f"{path}: row {number}: no {', '.join(missing)}; a {entry['kind']} example needs them")
        labels = row["tags"] if entry["kind"] == "tagging" else [row["label"]] if entry["kind"] == "pair" else []
        unknown = [label for label in labels if label not in entry["labels"]]
        if unknown:
            raise UserError(f"{path}: row {number}: label {unknown[0]!r}; allowed: {', '.join(entry['labels'])}")
        if entry["kind"] == "tagging" and len(row["tags"]) != len(row["tokens"]):
            raise UserError(f"{path}: row {number}: {len(row['tokens'])} tokens, but {len(row['tags'])} tags")
    return rows


def summary(outcomes: list[Outcome]) -> str:
    """One line for a log: outcomes, success rate (succeeded / attacked), queries, vanished candidates, reasons."""
    count = Counter(one.outcome for one in outcomes)
    attacked = count[SUCCEEDED] + count[FAILED]
    parts = [f"{count[name]} {name}" for name in (SUCCEEDED, FAILED, SKIPPED)]
    parts.append(f"success {100 * count[SUCCEEDED] / attacked:.0f} %" if attacked else "none attacked")
    parts.append(f"{sum(one.queries for one in outcomes)} queries")
    parts.append(f"{sum(one.vanished for one in outcomes)} candidates vanished")
    reasons = Counter(one.why for one in outcomes if one.outcome == SKIPPED)
    return ", ".join(parts + [f"skipped as {why}: {number}" for why, number in sorted(reasons.items())])
