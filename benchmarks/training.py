"""Training speed and memory against a plain Hugging Face Trainer -> rows of benchmarks/results/training.json.

    python -m benchmarks training ablation memory           # all of it; a stopped one goes on where it was
    python -m benchmarks.training training --layers 6 --cases nli-default --rounds 1 --steps 2   # a part, to try

`training`: cases at 3, 6 and 12 layers of multilingual-e5-small; `ablation`: each trick of ours changed alone;
`memory`: XLM-R base with random weights. Two threads, one process after another, ours and Trainer in turn (A B A B):
`ratio` is the median over rounds of the ratio of the two that ran beside each other. Both sides train the same number
of steps and examples, drawn from the same training set in batches of the same size.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks import cases, real, sides, store

THREADS, ROUNDS = 2, 2
LAYERS = (3, 6, 12)
CASES = {
    "nli-default": {"task": "mnli"},
    "nli-fp32-trained-embeddings": {"task": "mnli", "precision": "fp32"},
    "tagging-default": {"task": "udpos"},
    "qa-default": {"task": "squad"},
}
STEPS = {"mnli": {3: 16, 6: 16, 12: 12}, "udpos": {3: 16, 6: 12, 12: 8}, "squad": {3: 6, 6: 6, 12: 4}}
# what is changed alone: (changes of the spec, options of scripts/train.py)
CHANGES = {
    "fp32": ({"precision": "fp32"}, []),
    "random-batches": ({}, [sides.RANDOM_BATCHES]),
    "no-trimming": ({}, ["--no-trim"]),
    "frozen-embeddings": ({"trainable": "blocks"}, []),
    "gradient-checkpointing": ({}, ["--gradient-checkpointing"]),
    "prefetch-4": ({}, ["--prefetch", "4"]),
    "plain": ({"precision": "fp32"}, [sides.RANDOM_BATCHES, "--no-trim"]),
}
KEYS = ("piece", "case", "layers")


def name_of(layers: int) -> str:
    """The catalog's model with so many blocks."""
    return f"me5-small-l{layers}"


class Bench:
    """One piece: what its measurements share."""

    results = store.RESULTS  # where training.json lies

    def __init__(self, piece: str, rounds: int = ROUNDS):
        from xstilts.identity import stage_code

        self.piece, self.rounds = piece, rounds
        self.versions, self.machine = store.versions(), store.machine()
        self.kept = store.Kept(piece, f"{stage_code('train')} {self.versions}")
        self.peer = sides.peer_is_there()

    def ours(self, key: str, spec: dict, folder: Path, options: Sequence[str] = (), work=None, model=None) -> dict:
        """Our side of one run, kept under `key` with the steps it has. `model`: its folder (None: the catalog's)."""
        steps, model = spec["tasks"][0]["hyper"]["max_steps"], model or real.model(spec["model"]["name"])
        work = work or store.WORK / "work"  # encodings are made once, in the first run
        return self._run(f"ours {key} {steps}", lambda: sides.ours(spec, model, folder, THREADS, "cpu", options, work))

    def theirs(self, key: str, job: dict) -> dict | None:
        """Trainer's side of one run."""
        if not self.peer:
            return None
        return self._run(f"peer {key} {job['steps']}", lambda: sides.peer(job, THREADS))

    def _run(self, key: str, measure) -> dict:
        def measured() -> dict:
            load = round(os.getloadavg()[0], 1)
            return {**measure(), "load_before": load}

        found = self.kept.get(key, measured)
        print(f"{self.piece}: {key}: {found['tokens_per_s']} tokens/s, {found['peak_memory_mb']} MiB", flush=True)
        return found

    def row(self, case: str, layers: int, ours: Sequence[dict], peers: Sequence[dict | None], **more) -> dict:
        """The row of one case from its rounds, in order; without a peer its numbers are None."""
        pairs = [(a, b) for a, b in zip(ours, peers, strict=True) if b]
        rates = [[one["tokens_per_s"] for one in side] for side in (ours, [b for _, b in pairs])]
        memory = [max((one["peak_memory_mb"] for one in side), default=None) for side in (ours, [b for _, b in pairs])]
        seconds = [statistics.median(one["wall_s"] - one["training_seconds"] for one in ours)]
        seconds += [statistics.median(b["wall_s"] - b["seconds"] for _, b in pairs)] if pairs else [None]
        ratios = [round(a["tokens_per_s"] / b["tokens_per_s"], 2) for a, b in pairs]
        return {
            "piece": self.piece,
            "case": case,
            "layers": layers,
            "ours_tokens_per_s": round(statistics.median(rates[0]), 1),
            "peer_tokens_per_s": round(statistics.median(rates[1]), 1) if pairs else None,
            "ratio": round(statistics.median(ratios), 2) if pairs else None,
            "ratios": ratios,
            "ours_peak_mb": memory[0],
            "peer_peak_mb": memory[1],
            # the process's seconds outside of its steps: imports, loading, tokenizing, scoring dev, writing
            "ours_other_s": round(seconds[0], 1),
            "peer_other_s": round(seconds[1], 1) if pairs else None,
            "steps": ours[0]["examples"] // more.get("batch_size", 32),
            "examples": ours[0]["examples"],
            "ours_tokens": [one["tokens"] for one in ours],
            "peer_tokens": [one["tokens"] for _, one in pairs],
            "mfu": ours[0].get("mfu"),
            "flops_per_s": ours[0].get("flops_per_s"),
            "peak_flops_per_s": ours[0].get("peak_flops_per_s"),
            "device": ours[0]["device"],
            "threads": THREADS,
            "load_before": [one["load_before"] for one in (*ours, *(b for _, b in pairs))],
            **more,
            "machine": self.machine,
            "versions": self.versions,
        }

    def write(self, rows: Sequence[dict]) -> None:
        """Put rows into training.json in place of the same cases'."""
        store.replace("training", rows, KEYS, self.results)


def prepared(task: str, layers: int, **hyper) -> tuple[dict, Path, Path, dict]:
    """(task spec, folder of examples, peer's features file, what a row says of the data)."""
    source, folder = cases.examples(task)
    one = cases.task_spec(task, **hyper)
    path = store.WORK / "features" / f"{source}-{task}.json"
    facts = cases.features(one, folder / task / "en" / "train.jsonl", real.model(name_of(layers)), path)
    about = {"data": source, "task": task, "preset": cases.PRESET, "batch_size": one["hyper"]["batch_size"]}
    return one, folder, path, {**about, "pad_to": one["hyper"]["max_length"], **facts}


def training(
    layers: Sequence[int] = LAYERS, names: Sequence[str] = tuple(CASES), rounds: int = ROUNDS, steps: int | None = None
) -> list[dict]:
    """Cases of one task and size share Trainer's runs: A (each case of ours) B (Trainer), `rounds` times."""
    bench, rows = Bench("training", rounds), []
    for size in layers:
        for task in dict.fromkeys(CASES[name]["task"] for name in names):
            own = [name for name in names if CASES[name]["task"] == task]
            many = steps or STEPS[task][size]
            one, folder, path, about = prepared(task, size, max_steps=many)
            found, peers = {name: [] for name in own}, []
            for turn in range(1, rounds + 1):
                for name in own:
                    how = {key: value for key, value in CASES[name].items() if key != "task"}
                    spec = cases.spec(name_of(size), one, turn, **how)
                    found[name].append(bench.ours(f"{name} {size} {turn}", spec, folder))
                job = cases.peer_job(one, cases.peer_folder(name_of(size)), path, many, turn)
                peers.append(bench.theirs(f"{task} {size} {turn}", job))
            new = []
            for name in own:
                how = {"model": name_of(size), "precision": CASES[name].get("precision", "bf16"), "trainable": "all"}
                new.append(bench.row(name, size, found[name], peers, **about, **how))
            bench.write(new)
            rows += new
    bench.kept.finish()
    return rows


def ablation(layers: int = 6, rounds: int = ROUNDS, steps: int | None = None) -> list[dict]:
    """The default settings with one thing changed at a time, NLI; `default_ratio`: rate over the default's beside it.

    `plain` has none of the tricks but our encoder and dynamic padding. A change that this version of scripts/train.py
    or this machine refuses is said and left out.
    """
    bench, many = Bench("ablation", rounds), steps or STEPS["mnli"][layers]
    one, folder, path, about = prepared("mnli", layers, max_steps=many)
    changes, found, peers = {"default": ({}, []), **CHANGES}, {}, []
    for turn in range(1, rounds + 1):
        for name, (how, options) in changes.items():
            spec = cases.spec(name_of(layers), one, turn, **how)
            try:
                found.setdefault(name, []).append(bench.ours(f"{name} {layers} {turn}", spec, folder, options))
            except sides.Failed as error:
                print(f"ablation: {name}: not measured: {error}", flush=True)
        job = cases.peer_job(one, cases.peer_folder(name_of(layers)), path, many, turn)
        peers.append(bench.theirs(f"mnli {layers} {turn}", job))
    rows = []
    for name, runs in found.items():
        if len(runs) < rounds:
            continue
        pairs = zip(runs, found["default"], strict=True)
        ratio = statistics.median(one["tokens_per_s"] / default["tokens_per_s"] for one, default in pairs)
        how = {"default_ratio": round(ratio, 3), "model": name_of(layers), "changed": list(changes[name])}
        rows.append(bench.row(name, layers, runs, peers, **about, **how))
    bench.write([*rows, *_start_up(bench, one, folder, layers, about)])
    bench.kept.finish()
    return rows


def _start_up(bench: Bench, one: dict, folder: Path, layers: int, about: dict) -> list[dict]:
    """The encodings' cache: one step with an empty cache, then with a full one; `ours_other_s` is what it changes."""
    short = {**one, "hyper": {**one["hyper"], "max_steps": 1}}
    found = {"cold": [], "warm": []}
    for turn in range(1, bench.rounds + 1):
        work = store.WORK / "start-up" / str(turn)
        if f"ours cold {turn} 1" not in bench.kept.found:
            _empty(work)
        for name, runs in found.items():
            runs.append(bench.ours(f"{name} {turn}", cases.spec(name_of(layers), short, turn), folder, (), work))
    _empty(store.WORK / "start-up")
    names = {"cold": "no-encodings-cache", "warm": "encodings-cache"}
    more = {**about, "model": name_of(layers)}
    return [bench.row(names[name], layers, runs, [None] * bench.rounds, **more) for name, runs in found.items()]


def _empty(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def memory(rounds: int = 1, steps: int = 3, config: dict | None = None) -> list[dict]:
    """Peak resident memory of XLM-R base's shape with random weights; the worst case for us: no text is short.

    Every text is made of neighbours until it is longer than max_length, so that each of our batches is as wide as
    Trainer's. Rates of so few steps are rough: a row of `memory` is for its peaks. `config`: another shape (tests).
    """
    from benchmarks import random_weights

    bench, name = Bench("memory", rounds), "xlm-r-base-random"
    one = cases.task_spec("mnli", max_steps=steps)
    tokenizer = real.model(name_of(6)) / "tokenizer.json"  # XLM-R's pieces, and 35 more
    model = random_weights.build(config or random_weights.BASE, store.WORK / "models" / name, tokenizer)
    source, folder = cases.examples("mnli", store.WORK / "long", _long)
    path = store.WORK / "features" / f"{source}-mnli-long.json"
    about = {"data": f"{source}, joined", "task": "mnli", "preset": cases.PRESET, "model": name}
    about |= cases.features(one, folder / "mnli" / "en" / "train.jsonl", model, path)
    job = cases.peer_job(one, model, path, steps, 1)
    found, peers = {"bf16": [], "fp32": []}, []
    for turn in range(1, rounds + 1):
        for precision, runs in found.items():
            runs.append(bench.ours(f"{precision} {turn}", cases.spec(name, one, turn, precision), folder, model=model))
        peers.append(bench.theirs(f"{turn}", job))
    rows, layers = [], (config or random_weights.BASE)["num_hidden_layers"]
    for precision, runs in found.items():
        row = bench.row(f"xlm-r-base-memory-{precision}", layers, runs, peers, precision=precision, **about)
        row["peak_ratio"] = round(row["ours_peak_mb"] / row["peer_peak_mb"], 3) if row["peer_peak_mb"] else None
        rows.append(row)
    bench.write(rows)
    bench.kept.finish()
    return rows


def _long(rows: Sequence[dict], neighbours: int = 8) -> list[dict]:
    """Examples that all are longer than max_length: each text with those of the examples after it."""
    found = []
    for number, row in enumerate(rows):
        others = [rows[(number + step) % len(rows)] for step in range(neighbours)]
        found.append({**row, **{key: " ".join(one[key] for one in others) for key in ("text_a", "text_b")}})
    return found


def main() -> None:
    """A part of a piece, to try it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("piece", choices=["training", "ablation", "memory"])
    parser.add_argument("--layers", type=int, nargs="+", default=LAYERS)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps", type=int, help="of every training (default: as each case has them)")
    parser.add_argument("--results", type=Path, default=store.RESULTS, help="folder of training.json")
    a = parser.parse_args()
    Bench.results = a.results
    if a.piece == "training":
        training(a.layers, a.cases, a.rounds, a.steps)
    elif a.piece == "ablation":
        ablation(a.layers[0] if len(a.layers) == 1 else 6, a.rounds, a.steps)
    else:
        memory(1, a.steps or 3)


if __name__ == "__main__":
    main()
