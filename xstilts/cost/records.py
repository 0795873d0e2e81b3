"""Reading rates: the train.json and cost files of results folders, and the rows of benchmark files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median

from xstilts.cost import lengths
from xstilts.cost.rates import PREDICT, TRAIN, Rate, Work, changed, operations
from xstilts.errors import UserError
from xstilts.files import read_json

CASES = {  # of benchmarks/results/training.json: kind, precision, trainable
    "nli-default": ("pair", "bf16", "all"),
    "nli-fp32-trained-embeddings": ("pair", "fp32", "all"),
    "tagging-default": ("tagging", "bf16", "all"),
    "qa-default": ("span_qa", "bf16", "all"),
}
KEYS = ("kind", "precision", "trainable")
MIB = 2**20
NUMBERS = ("tokens", "tokens_per_s", "squares", "seconds", "training_seconds", "dev_seconds", "startup_seconds",
           "updates", "steps", "devices", "lora_rank", "memory_bytes_per_s", "device_memory_mb")  # fmt: skip


def read(places: Iterable[Path], catalog, models: Container[str]) -> list[Rate]:
    """Rates of results folders (their train.json and cost/**.json) and of benchmark files (lists of rows).

    Those of a random test model count only where it is among `models`: so small a model says nothing of others. A place
    without any rate of a catalog model gives none; a broken file is a UserError.
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
    tests = {name for name, entry in catalog.models.items() if entry.identity["source"]["type"] == "random"}
    return _joined([rate for rate in found if rate.model not in tests or rate.model in models])


def label(record: dict, threads: int | None = None) -> str:
    """Name of the device of a record: a GPU's, or `cpu`, the processor and the number of threads."""
    if record.get("device", "cpu") != "cpu":
        return record["device"]
    threads = record.get("threads") or threads
    name = " ".join(filter(None, ["cpu", record.get("processor")]))
    return f"{name}, {threads} thread{'s' if threads != 1 else ''}" if threads else name


def _joined(rates: list[Rate]) -> list[Rate]:
    """Older records name no processor: they are counted as the one processor's that records of as many threads name,
    and stand alone where several are named."""
    named: dict[str, set[str]] = {}
    for name in {rate.device for rate in rates if rate.device.startswith("cpu ")}:
        named.setdefault(f"cpu, {name.rpartition(', ')[2]}", set()).add(name)
    only = {old: next(iter(names)) for old, names in named.items() if len(names) == 1}
    return [replace(rate, device=only.get(rate.device, rate.device)) for rate in rates]


def _folder(results: Path, catalog) -> list[Rate]:
    found, settings, threads = [], Counter(), Counter()
    paths = [*results.glob("encoders/*/*/*/train.json"), *results.glob("targets/*/*/*/*/train.json")]
    for path in sorted(paths):
        record, beside = _record(path), path.with_name("config.json")
        spec = read_json(beside).get("spec", {}) if beside.is_file() else {}
        kinds = [task["kind"] for task in spec.get("tasks", [])]
        kind = kinds[0] if len(kinds) == 1 else "mixture"
        work = _work(record, spec)
        settings[work.precision] += 1
        threads[record.get("threads")] += 1
        task = record.get("target") or record.get("intermediate")
        found.append(_rate(record, TRAIN, kind, task, work, label(record), str(path), catalog, *_startup(record)))
    usual, own = (next(iter(counts.most_common(1)), (None,))[0] for counts in (settings, threads))
    for path in sorted(results.glob("cost/**/*.json")):
        record = _record(path, "stage")
        target = record.get("target")
        known = catalog.tasks[target].identity["kind"] if target in catalog.tasks else "?"
        kind = known if record["stage"] == "evaluate" else record["stage"]
        work = Work("none", record.get("precision") or usual or "?")
        seconds = record.get("startup_seconds")
        place = label(record, own)
        found.append(_rate(record, PREDICT, kind, target, work, place, str(path), catalog, seconds, True))
    return [rate for rate in found if rate]


def _record(path: Path, *needed: str) -> dict:
    """A job's record; UserError where it is none."""
    record = read_json(path)
    wrong = [key for key in ("model", *needed) if not isinstance(record, dict) or not isinstance(record.get(key), str)]
    wrong = wrong or [key for key in NUMBERS if not isinstance(record.get(key) or 0, int | float)]
    if wrong:
        raise UserError(f"{path}: {', '.join(wrong)}: missing, or of a wrong type: this is no record of a job. Next: "
                        "delete the file and run its job again, or name other folders with --rates")  # fmt: skip
    return record


def _work(record: dict, spec: dict) -> Work:
    """How a training worked, by its record or (older ones) by the spec of its checkpoint."""
    precision, trainable = (record.get(key) or spec.get(key, "?") for key in ("precision", "trainable"))
    rank = record.get("lora_rank") or (spec.get("lora") or {}).get("rank")
    attempts = [one.get("steps", 0) for one in record.get("attempts") or []]
    stopped = (record.get("stopped") or {}).get("step")
    updates = record.get("updates") or sum(attempts) or stopped or record.get("steps")
    per_update = record["tokens"] / updates / (record.get("devices") or 1) if updates and record.get("tokens") else None
    optimiser = record.get("optimiser") or spec.get("optimiser", "adamw")
    twice = (record.get("plan") or {}).get("gradient_checkpointing")
    return Work(trainable, precision, optimiser, rank, twice, per_update)


def _startup(record: dict) -> tuple[float | None, bool]:
    """(seconds of a training beside its steps and looks at dev, whether these were told apart): older records count
    looks in, and nothing before a resume."""
    seconds, steps, looks = (record.get(key) for key in ("seconds", "training_seconds", "dev_seconds"))
    if seconds is None or steps is None or seconds < steps:
        return None, False
    return max(0.0, seconds - steps - (looks or 0.0)), looks is not None


def _rate(record, phase, kind, task, work: Work, device, file, catalog, startup=None, exact=False) -> Rate | None:
    """None where the model left the catalog or nothing was timed."""
    model, tokens = catalog.models.get(record.get("model")), record.get("tokens")
    if not model or not tokens or not record.get("tokens_per_s"):
        return None
    devices = record.get("devices") or 1
    each = record["tokens_per_s"] / devices
    ratio = record["squares"] / tokens if record.get("squares") else _ratio(catalog, task, kind)
    copied = record["memory_bytes_per_s"] / devices if record.get("memory_bytes_per_s") else None
    memory = record["device_memory_mb"] * MIB if record.get("device_memory_mb") else None
    return Rate(phase, kind, model.name, model.size["non_embedding_parameters"], changed(model, kind, work), device,
                work, each, each * operations(model, 1, ratio, work), file, startup, exact, copied, memory)  # fmt: skip


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
        kind, precision, trainable = (row.get(key) or one for key, one in zip(KEYS, case, strict=True))
        machine = row["machine"] if isinstance(row.get("machine"), dict) else {}
        about = {key: row.get(key) or machine.get(key) for key in ("device", "processor", "threads")}
        tokens, steps = row.get("ours_tokens") or [], row.get("steps")
        each = median(tokens) / steps / (row.get("devices") or 1) if tokens and steps else None
        work = Work(trainable, precision, row.get("optimiser") or "adamw", row.get("lora_rank"), None, each)
        record = {"model": f"me5-small-l{row.get('layers')}", "tokens": 1, "devices": row.get("devices"), **row}
        record["tokens_per_s"] = row.get("tokens_per_s") or row.get("ours_tokens_per_s")
        place = label({**about, "device": about["device"] or "cpu"})
        found.append(_rate(record, TRAIN, kind or "?", None, work, place, str(path), catalog, row.get("ours_other_s")))
    return [rate for rate in found if rate]
