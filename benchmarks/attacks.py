"""Attacks against TextAttack 0.3.11 on the same victim -> rows of benchmarks/results/attacks.json.

    python -m benchmarks attacks

The victim: multilingual-e5-small cut to 6 blocks, trained on MNLI by scripts/train.py, exported for TextAttack. The
examples: the first 200 of real English XNLI test (XSTILTS_REAL). Both sides attack the second text with two threads and
leave the same stop words alone; TextAttack's recipes are otherwise as they come. One process at a time, ours and the
peer in turn. A rate is over the seconds of the attacks: loading is outside on both sides. TextAttack gets an
environment of its own, work/benchmarks/textattack, made on the first run from envs/textattack.txt.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import cases, real, sides, store

ATTACKS = ("deepwordbug", "pruthi")
MODEL, TASK, TARGET = "me5-small-l6", "mnli", "xnli"
EXAMPLES, STEPS, THREADS, SEED = 200, 400, 2, 1
ROUNDS = {"deepwordbug": 6, "pruthi": 2}  # a round of the first takes seconds, so that more are needed
PLACE = store.WORK / "attacks"


def attacks() -> list[dict]:
    """One row an attack; nothing where there is no real data."""
    root = real.data_root(TARGET)
    if root is None:
        return []
    base, checkpoint = real.model(MODEL), _victim()
    rows, pairs = _examples(root)
    exported = _exported(checkpoint, base)
    return [_measure(name, base, checkpoint, exported, rows, pairs) for name in ATTACKS]


def _victim() -> Path:
    """The trained checkpoint, made once."""
    out = PLACE / "victim"
    if not (out / "train.json").is_file():
        _, folder = cases.examples(TASK)
        hyper = {"max_steps": STEPS, "learning_rate": 1e-4, "max_length": 128}
        spec = cases.spec(MODEL, cases.task_spec(TASK, **hyper), SEED, trainable="blocks")
        sides.ours(spec, real.model(MODEL), folder, THREADS, out=out)
    return out


def _exported(checkpoint: Path, base: Path) -> Path:
    from xstilts.models.export import export

    out = PLACE / "exported"
    if not (out / "tokenizer_config.json").is_file():
        export(checkpoint, base, out)
    return out


def _examples(root: Path) -> tuple[Path, Path]:
    """The same examples as ours and as TextAttack reads them."""
    from xstilts import files

    labels = cases.known().tasks[TARGET].identity["labels"]
    found = files.read_jsonl(root / TARGET / "en" / "test.jsonl")[:EXAMPLES]
    texts = [(row["premise"], row["hypothesis"], int(row["label"])) for row in found]
    rows = [
        {"id": str(number), "text_a": a, "text_b": b, "label": labels[label]}
        for number, (a, b, label) in enumerate(texts)
    ]
    files.write_jsonl(PLACE / "examples.jsonl", rows)
    store.write(PLACE / "examples.json", texts)
    return PLACE / "examples.jsonl", PLACE / "examples.json"


def _peer() -> Path:
    """The Python of TextAttack's environment, made on the first call."""
    python = store.WORK / "textattack" / "bin" / "python"
    if not python.is_file():
        print("making TextAttack's environment (once, some minutes)", flush=True)
        folder = python.parent.parent
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        listed = store.ROOT / "envs" / "textattack.txt"
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(listed)], check=True)
    return python


def _measure(name: str, base: Path, checkpoint: Path, exported: Path, rows: Path, pairs: Path) -> dict:
    from xstilts.attacks import stopwords

    shared = {"attack": name, "threads": THREADS, "seed": SEED}
    ours = {"model": str(base), "checkpoint": str(checkpoint), "task": TASK, "target": TARGET, "precision": "bf16"}
    theirs = {"model": str(exported), "stop_words": sorted(stopwords.of("en")), "max_length": 128}
    found: dict[str, list[dict]] = {"ours": [], "peer": []}
    for turn in range(ROUNDS[name]):
        for side, extra in (("ours", ours | {"examples": str(rows)}), ("peer", theirs | {"examples": str(pairs)})):
            job = PLACE / f"{name}-{side}-{turn}.json"
            out = job.with_suffix(".out.json")
            store.write(job, {**shared, **extra, "out": str(out), "scratch": str(PLACE / "scratch")})
            own = [sys.executable, "-m", "benchmarks.attack_side"]
            command = own if side == "ours" else [str(_peer()), str(store.ROOT / "benchmarks" / "textattack_side.py")]
            sides.run([*command, str(job)], THREADS)
            found[side].append(json.loads(out.read_text(encoding="utf-8")))
            print(f"{name} {side}: {found[side][-1]['seconds']:.1f} s", flush=True)
    own, peer = found["ours"], found["peer"]
    rate = [EXAMPLES / one["seconds"] for one in own]
    other = [EXAMPLES / one["seconds"] for one in peer]
    bound = [one["queries"] / min(one["bound"].values()) for one in own]
    queries = [one["queries"] / one["seconds"] for one in own]
    return {
        "attack": name,
        "n": EXAMPLES,
        "ours_examples_per_s": round(statistics.median(rate), 2),
        "peer_examples_per_s": round(statistics.median(other), 2),
        "ratio": round(statistics.median(a / b for a, b in zip(rate, other, strict=True)), 2),
        "ratios": [round(a / b, 2) for a, b in zip(rate, other, strict=True)],
        "ours_queries_per_s": round(statistics.median(queries), 1),
        "peer_queries_per_s": round(statistics.median(one["queries"] / one["seconds"] for one in peer), 1),
        "forward_bound_queries_per_s": round(statistics.median(bound), 1),
        "of_bound": round(statistics.median(a / b for a, b in zip(queries, bound, strict=True)), 3),
        "of_bounds": [round(a / b, 3) for a, b in zip(queries, bound, strict=True)],
        "ours_queries": own[0]["queries"],
        "peer_queries": peer[0]["queries"],
        "clean": _share(peer[0], ("succeeded", "failed")),
        "ours_attacked": _share(own[0], ("failed",), "nothing"),
        "peer_attacked": _share(peer[0], ("failed",)),
        "differ": _differing(own[0], peer[0]),
        "machine": store.machine(),
    }


def _share(found: dict, kinds: tuple[str, ...], *more) -> float:
    """Accuracy in percent: the share of examples with one of these outcomes."""
    return round(100 * sum(one[0] in kinds for one in found["outcomes"]) / len(found["outcomes"]), 1)


def _differing(ours: dict, peer: dict) -> dict[str, list[int]]:
    """Numbers of the examples whose outcomes differ, by "ours / peer's"."""
    differ: dict[str, list[int]] = {}
    for number, (one, other) in enumerate(zip(ours["outcomes"], peer["outcomes"], strict=True)):
        if one[0] != other[0]:
            differ.setdefault(f"{one[0]} / {other[0]}", []).append(number)
    return differ
