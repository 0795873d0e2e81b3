"""Do the fast settings cost quality? Dev scores of fast and plain trainings -> benchmarks/results/quality.json.

    python -m benchmarks quality           # two trainings of one thread at a time; a stopped one goes on

Real UDPOS and real NLI, multilingual-e5-small with 6 blocks, preset `demo` with more steps, three seeds. fast: what a
study gets (bf16, batches of similar length, trimmed vocabulary). plain: fp32, random batches. Both train all weights.
Plain is trimmed too: a trimmed training equals a full one, tested to 1e-6 in tests/test_trimming.py, and a full one
takes hours here.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import cases, real, sides, store
from xstilts import files

MODEL, SEEDS, PROCESSES, SAMPLES = "me5-small-l6", (1, 2, 3), 2, 2000
STEPS = {"mnli": 400, "udpos": 250}
SETTINGS = {
    "fast": ({"precision": "bf16"}, []),
    "plain": ({"precision": "fp32"}, [sides.RANDOM_BATCHES]),
}


def quality(seeds: Sequence[int] = SEEDS, steps: dict | None = None, results: Path = store.RESULTS) -> list[dict]:
    """A row a task: dev scores by seed of both, their mean difference (fast - plain) in points with a 95 % interval.

    The interval is the paired bootstrap over seeds and examples of xstilts/analysis/bootstrap.py; `significant`: 0 lies
    outside of it. Empty where the folder of real data is not there.
    """
    from xstilts.identity import stage_code

    if any(real.data_root(task) is None for task in (*STEPS, "xnli")):
        return []
    steps, work = steps or STEPS, store.WORK / "quality" / stage_code("train")
    folder, dev, jobs = work / "examples", {}, []
    for task in steps:
        found = cases.data(task)[1]
        dev[task] = found["dev"] + (_xnli() if task == "mnli" else [])
        files.write_jsonl(folder / task / "en" / "train.jsonl", found["train"])
        files.write_jsonl(folder / task / "en" / "dev.jsonl", found["dev"][: cases.DEV])
        jobs += [(task, name, seed) for seed in seeds for name in SETTINGS]
    model = real.model(MODEL)

    def train(job: tuple) -> None:
        task, name, seed = job
        how, options = SETTINGS[name]
        spec = cases.spec(MODEL, cases.task_spec(task, "demo", max_steps=steps[task]), seed, **how)
        out = work / _name(*job, steps)
        if not (out / "train.json").is_file():
            sides.ours(spec, model, folder, 1, "cpu", options, work / "states", out)
        print(f"quality: {_name(*job, steps)} is trained", flush=True)

    # the longest first, so that both processes end at about the same time
    jobs.sort(key=lambda job: (job[1] != "plain", job[0] != "mnli"))
    with ThreadPoolExecutor(PROCESSES) as pool:
        try:
            list(pool.map(train, jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            sides.stop()
            raise
    rows = [_row(task, seeds, steps, work, model, dev[task]) for task in steps]
    store.write(results / "quality.json", rows)
    return rows


def _name(task: str, name: str, seed: int, steps: dict) -> str:
    return f"{task}-{steps[task]}-{name}-s{seed}"


def _xnli() -> list[dict]:
    """XNLI's English validation pairs: MNLI's own dev set here is small (both are scored together)."""
    path = real.data_root("xnli") / "xnli" / "en" / "validation.jsonl"
    labels = cases.known().tasks["mnli"].identity["labels"]
    return [
        {"id": f"xnli-{n}", "text_a": row["premise"], "text_b": row["hypothesis"], "label": labels[row["label"]]}
        for n, row in enumerate(files.read_jsonl(path))
    ]


def _row(task: str, seeds: Sequence[int], steps: dict, work: Path, model: Path, dev: Sequence[dict]) -> dict:
    one, metric, tables, facts = cases.task_spec(task, "demo"), "", {}, {}
    for name in SETTINGS:
        for seed in seeds:
            folder = work / _name(task, name, seed, steps)
            metric, tables[name, seed] = _statistics(one, model, folder, dev)
            facts[name, seed] = files.read_json(folder / "train.json")
    scores, difference = compare(tables, seeds)
    return {
        "task": task,
        "metric": metric,
        "model": MODEL,
        "steps": steps[task],
        "seeds": list(seeds),
        "n": len(dev),
        **{name: [round(score, 2) for score in found] for name, found in scores.items()},
        **difference,
        "samples": SAMPLES,
        "seconds": {
            name: round(statistics.fmean(facts[name, seed]["training_seconds"] for seed in seeds), 1)
            for name in SETTINGS
        },
        "settings": {name: list(how) for name, how in SETTINGS.items()},
        "machine": store.machine(),
        "versions": store.versions(),
    }


def _statistics(one: dict, model_dir: Path, checkpoint: Path, dev: Sequence[dict]) -> tuple:
    """(metric, per-example statistics as `xstilts.evaluation.metrics` has them) of one checkpoint."""
    from xstilts.evaluation import metrics
    from xstilts.evaluation.predict import Predictor
    from xstilts.models import loading

    head = {key: one[key] for key in ("task", "kind", "labels", "options")}
    # both are scored in float32: what is compared is the training
    predictor = Predictor(loading.load(model_dir, checkpoint), **head, hyper=one["hyper"], precision="fp32")
    key, answer = ("tags", "f1") if one["kind"] == "tagging" else ("label", "accuracy")
    given = [prediction[key] for prediction in predictor.predict(dev)]
    return answer, metrics.statistics(one["kind"], one["options"], "en", [row[key] for row in dev], given)[answer]


def compare(tables: dict, seeds: Sequence[int], samples: int = SAMPLES) -> tuple[dict, dict]:
    """({setting: score of each seed}, {difference, ci_low, ci_high, significant}) from {(setting, seed): statistics}.

    Every setting and seed sees the same draws of examples, both settings the same draws of seeds.
    """
    import numpy as np

    from xstilts.analysis import bootstrap

    rows, width = next(iter(tables.values())).shape
    columns = np.hstack([tables[name, seed] for name in SETTINGS for seed in seeds]).astype(float)
    sums = bootstrap.resampled_sums(columns, samples, bootstrap.generator(1, "examples"))
    values = [bootstrap.score(sums[:, i : i + width], rows) for i in range(0, sums.shape[1], width)]
    weights = bootstrap.seed_weights(len(seeds), samples, bootstrap.generator(1, "seeds"))
    sides_ = {name: np.stack(values[i * len(seeds) : (i + 1) * len(seeds)], 1) for i, name in enumerate(SETTINGS)}
    means = {name: (weights * found).sum(axis=1) for name, found in sides_.items()}
    difference = means["fast"] - means["plain"]
    low, high = bootstrap.interval(difference)
    found = {"difference": round(float(difference[0]), 2), "ci_low": round(low, 2), "ci_high": round(high, 2)}
    return {name: side[0].tolist() for name, side in sides_.items()}, {**found, "significant": not low <= 0 <= high}


if __name__ == "__main__":
    quality()
