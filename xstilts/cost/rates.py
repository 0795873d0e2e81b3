"""Measured rates: what earlier jobs and benchmarks reached, and what that says of other models.

A rate is real tokens a second of one device. To another model it is carried over as operations a second: small models
reach fewer of them than large ones on a GPU, so a large model's estimate from a small one's rate is rather too high.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from xstilts.cost import lengths
from xstilts.errors import UserError
from xstilts.files import read_json
from xstilts.training.accounting import flops

TRAIN, PREDICT = "train", "predict"
CASES = {  # of benchmarks/results/training.json: kind, precision, trainable
    "nli-default": ("pair", "bf16", "all"),
    "nli-fp32-trained-embeddings": ("pair", "fp32", "all"),
    "tagging-default": ("tagging", "bf16", "all"),
    "qa-default": ("span_qa", "bf16", "all"),
}
KEYS = ("kind", "precision", "trainable")
MEASURED, SCALED, ASSUMED = "measured", "scaled", "assumed"


@dataclass(frozen=True)
class Rate:
    """One job's speed. `work` is a training's `trainable`, `none` for predictions; `startup` its other seconds."""

    phase: str
    kind: str
    model: str
    size: int  # its parameters without word embeddings
    device: str
    precision: str
    work: str
    tokens_per_s: float
    flops_per_s: float
    file: str
    startup: float | None = None


@dataclass(frozen=True)
class Speed:
    """What an estimate goes by: tokens a second (measured) or operations a second, and from where."""

    flops_per_s: float
    tokens_per_s: float | None
    basis: str
    why: str


class Rates:
    """All rates of one device; `assumed`: operations a second that the user gave in their place."""

    def __init__(self, rates: Iterable[Rate], device: str, assumed: float | None = None):
        self.rates = [rate for rate in rates if rate.device == device]
        self.device, self.assumed = device, assumed

    def speed(self, phase: str, kind: str, model, precision: str, work: str) -> Speed:
        """The speed of a job of `model` (a catalog entry): measured where the same model did the same kind of work with
        the same settings, else scaled from what is nearest: phase, then precision, what is trained, size, kind."""
        if self.assumed:
            return Speed(self.assumed, None, ASSUMED, "--peak x --mfu")
        size = math.log(model.size["non_embedding_parameters"])

        def distance(rate: Rate) -> tuple:
            far = abs(math.log(rate.size) - size)
            same = (rate.phase != phase, rate.precision != precision, rate.work != work)
            # searching and attacking are slower by what they do beside the model
            apart = rate.kind != kind and {rate.kind, kind} & {"retrieval", "attack"}
            return (*same, bool(apart), round(far, 6), rate.model != model.name, rate.kind != kind)

        best = min(map(distance, self.rates))
        found = [rate for rate in self.rates if distance(rate) == best]
        one, count = found[0], f"{len(found)} job{'s' if len(found) > 1 else ''}"
        exact = not any(best)
        why = f"{count} of {one.model}, {one.kind}" + ("" if one.phase == phase else f", {one.phase}")
        why += "".join(f", {a}" for a, b in ((one.precision, precision), (one.work, work)) if a != b)
        speed = median(rate.tokens_per_s for rate in found) if exact else None
        return Speed(median(rate.flops_per_s for rate in found), speed, MEASURED if exact else SCALED, why)

    def startup(self, model: str) -> tuple[float | None, str]:
        """Seconds of a training job beside its steps (start, reading, dev, writing), and of which model: its own, else
        the largest's that is known; None where nothing is."""
        known = [rate for rate in self.rates if rate.startup is not None]
        own = [rate for rate in known if rate.model == model]
        own = own or [rate for rate in known if rate.size == max(one.size for one in known)]
        return (median(rate.startup for rate in own), own[0].model) if own else (None, "")


def operations(model, tokens: float, squares: float, work: str, trained: int = 0) -> float:
    """FLOP of a catalog model over so many tokens (xstilts.training.accounting.flops)."""
    config = {"num_hidden_layers": model.identity["layers"], "hidden_size": model.identity["hidden"]}
    return flops(config, model.size["non_embedding_parameters"], tokens, squares, work, trained)


def read(places: Iterable[Path], catalog) -> list[Rate]:
    """Rates of results folders (their train.json and cost/**.json) and of benchmark files (lists of rows).

    A place that is neither, and one without any rate of a catalog model, gives none; a broken file is a UserError.
    """
    found: list[Rate] = []
    for place in places:
        if place.is_dir():
            found += _folder(place, catalog)
        elif place.is_file():
            found += _benchmark(place, catalog)
        else:
            raise UserError(f"--rates {place}: no such file or folder. Allowed: a results folder such as results/demo, "
                            "or a file such as benchmarks/results/training.json")  # fmt: skip
    return found


def label(record: dict, threads: int | None = None) -> str:
    """Name of the device of a record: a GPU's, or `cpu`, the processor and the number of threads."""
    if record.get("device", "cpu") != "cpu":
        return record["device"]
    threads = record.get("threads") or threads
    name = " ".join(filter(None, ["cpu", record.get("processor")]))
    return f"{name}, {threads} thread{'s' if threads != 1 else ''}" if threads else name


def _folder(results: Path, catalog) -> list[Rate]:
    found, settings, threads = [], Counter(), Counter()
    paths = [*results.glob("encoders/*/*/*/train.json"), *results.glob("targets/*/*/*/*/train.json")]
    for path in sorted(paths):
        record, beside = read_json(path), path.with_name("config.json")
        spec = read_json(beside).get("spec", {}) if beside.is_file() else {}
        precision, work = (record.get(key) or spec.get(key, "?") for key in ("precision", "trainable"))
        settings[precision] += 1
        threads[record.get("threads")] += 1
        kinds = [task["kind"] for task in spec.get("tasks", [])]
        kind = kinds[0] if len(kinds) == 1 else "mixture"
        rest = max(0.0, record["seconds"] - record["training_seconds"]) if "training_seconds" in record else None
        task = record.get("target") or record.get("intermediate")
        found.append(_rate(record, TRAIN, kind, task, precision, work, label(record), str(path), catalog, rest))
    usual, own = (next(iter(counts.most_common(1)), (None,))[0] for counts in (settings, threads))
    for path in sorted(results.glob("cost/**/*.json")):
        record = read_json(path)
        kind = {"evaluate": _kind(catalog, record.get("target"))}.get(record["stage"], record["stage"])
        place = label(record, own)
        found.append(
            _rate(record, PREDICT, kind, record.get("target"), usual or "?", "none", place, str(path), catalog)
        )
    return [rate for rate in found if rate]


def _kind(catalog, task: str | None) -> str:
    return catalog.tasks[task].identity["kind"] if task in catalog.tasks else "?"


def _rate(record, phase, kind, task, precision, work, device, file, catalog, startup=None) -> Rate | None:
    """None where the model left the catalog or nothing was timed."""
    model, tokens = catalog.models.get(record.get("model")), record.get("tokens")
    if not model or not tokens or not record.get("tokens_per_s"):
        return None
    each = record["tokens_per_s"] / (record.get("devices") or 1)
    ratio = record["squares"] / tokens if "squares" in record else _ratio(catalog, task, kind)
    size = model.size["non_embedding_parameters"]
    return Rate(phase, kind, model.name, size, device, precision, work, each,
                each * operations(model, 1, ratio, work), file, startup)  # fmt: skip


def _ratio(catalog, task: str | None, kind: str) -> float:
    """Squares a token where a record has none: those of the task in the table of lengths, else none (a few percent)."""
    if task not in catalog.tasks or kind == "mixture":
        return 0.0
    length = lengths.of(task, kind, "train", 128, "real", lengths.kinds(catalog))
    return length.squares / length.tokens if length else 0.0


def _benchmark(path: Path, catalog) -> list[Rate]:
    """Rows of CASES, which time the models me5-small-l<layers>, and rows {model, device, tokens_per_s, ...}."""
    rows = read_json(path)
    rows = rows.get("rows") if isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path}: no list of rows. Allowed: a file such as benchmarks/results/training.json")
    found = []
    for row in rows:
        case = CASES.get(row.get("case"), (None, "?", "all"))
        if not case[0] and not (row.get("model") and row.get("tokens_per_s")):
            continue  # an ablation, or of another benchmark
        kind, precision, work = (row.get(key) or one for key, one in zip(KEYS, case, strict=True))
        machine = row["machine"] if isinstance(row.get("machine"), dict) else {}
        about = {
            "device": row.get("device", "cpu"),
            "processor": machine.get("processor"),
            "threads": row.get("threads"),
        }
        record = {"model": f"me5-small-l{row.get('layers')}", "tokens": 1, "devices": row.get("devices"), **row}
        record["tokens_per_s"] = row.get("tokens_per_s") or row.get("ours_tokens_per_s")
        found.append(_rate(record, TRAIN, kind or "?", None, precision, work, label(about), str(path), catalog))
    return [rate for rate in found if rate]
