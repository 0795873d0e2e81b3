"""The attack job: one attack on one cell, on all its targets and languages, by one process or several.

Every outcome is journalled when it is known, so that a killed job goes on where it was; the rows are written at the end
in the order of the examples: the same bytes for any number of processes, killed or not.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from xstilts import files, paths
from xstilts.attacks import engine
from xstilts.attacks.outcomes import SUCCEEDED, escaped
from xstilts.errors import UserError
from xstilts.identity import canonical, sha256
from xstilts.robustness import inputs
from xstilts.robustness.attacker import Attacker, Progress, summary
from xstilts.robustness.inputs import Journals, Place

__all__ = ["Attacker", "read", "run", "summary"]

NEEDED = {
    "pair": ("id", "text_a", "text_b", "label"),
    "tagging": ("id", "tokens", "tags"),
    "span_qa": ("id", "context", "question", "answers"),
    "retrieval": ("id", "side", "text", "match"),
}
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


def run(
    spec: dict,
    results: Path,
    out_dir: Path,
    cost: Path,
    work: Path | None = None,
    processes: int = 1,
    threads: int = 0,
    device: str = "auto",
    shard: tuple[int, int] | None = None,
) -> None:
    """Write `<out_dir>/<target>/<language>.jsonl`, one row an example (`Outcome.row`), for an `attack` spec.

    Everything is read below `results` (xstilts/paths.py). `work`: folder of the journals (None: beside the output);
    `processes` share the examples, and the `threads` (0: as the environment says). `shard`: (i, n), of a process that
    does such a part alone and writes no rows: the job starts these itself. An attack that is not valid for a target's
    kind, examples that lack what their kind needs and a stand-in that is missing are `UserError`s.
    """
    name = spec["attack"]["name"]
    for target, entry in spec["targets"].items():
        where = f"catalog/attacks/{name}.yaml: target {target}"
        engine.check(spec["attack"], entry["kind"], where, options=entry["options"])
    results, out_dir = Path(results), Path(out_dir)
    kept = Path(work or out_dir) / f".attack-{sha256(canonical([spec, str(results.resolve())]))[:16]}"
    place = Place(results, kept, Path(work) if work else None, device)
    if shard is not None:
        _die_with_parent()
        _part(spec, place, shard, cost)
        return
    from xstilts.evaluation.timing import Clock
    from xstilts.models import runtime

    where = runtime.device(device)
    _gather(spec, place)  # what a killed job left
    clock = Clock(spec, None, where)
    if processes > 1 and where.type == "cpu":
        clock.tokens = _parts(spec, place, processes, threads, out_dir, cost)
    else:
        clock.tokens = _part(spec, place, (0, 1), None)
    _gather(spec, place)
    for target, entry in spec["targets"].items():
        for language in entry["languages"]:
            examples = read(place.examples(spec, target, language), entry)
            rows = Journals(spec, place, target, language).rows(examples, entry, spec)
            files.write_jsonl(out_dir / target / f"{language}.jsonl", rows)
    clock.write(cost)
    inputs.forget(place)


def _part(spec: dict, place: Place, shard: tuple[int, int], cost: Path | None) -> int:
    """Attack one part of the examples, journalling what comes of it; returns (and writes) the tokens."""
    from xstilts.models import loading, runtime

    where, tokens, tokenizer = runtime.device(place.device), 0, None
    by_task: dict[str | None, list[str]] = {}
    for target, entry in spec["targets"].items():
        by_task.setdefault(entry["training_task"], []).append(target)
    stand_ins, given = inputs.stand_ins(spec, place, where), inputs.given(spec, place, where)
    for task, targets in by_task.items():
        model = attacker = None  # not two models at a time
        folder = place.below(paths.MODEL_DIR, model=spec["model"]["name"])
        model = loading.load(folder, place.checkpoint(spec, task), where, runtime.lean(spec["precision"]))
        model.tokenizer = tokenizer = tokenizer or model.tokenizer  # one for all models: reading it takes 0.6 s
        for target in targets:
            attacker = Attacker(
                model, spec["model"]["layers"], spec["attack"], spec["languages"], spec["examples"],
                spec["attack_seed"], spec["precision"], spec["model"]["pre_norm"], stand_ins, spec.get("seconds"),
                given, shard, (spec.get("code", ""), place.work),
            )  # fmt: skip
            for language in spec["targets"][target]["languages"]:
                tokens += _one(spec, place, attacker, target, language)
    if cost:
        files.write_json(cost, {"tokens": tokens})
    return tokens


def _one(spec: dict, place: Place, attacker: Attacker, target: str, language: str) -> int:
    """Attack one part of one target's examples in one language."""
    began, entry, (number, of) = time.perf_counter(), spec["targets"][target], attacker.shard
    rows = read(place.examples(spec, target, language), entry)
    name = f"{spec['attack']['name']} {target} {language}" + (f" ({number + 1} of {of})" if of > 1 else "")
    with Journals(spec, place, target, language).of_process(number) as journal:
        if spec["attack"].get("set"):
            found, tokens = attacker.static(rows, entry, language) if number == 0 else ([], 0)  # too few to share
            for row in found:
                journal.add(row)
            said = f"{sum(row['outcome'] == SUCCEEDED for row in found)} of {len(found)} wrong"
        else:
            attacker.pool = inputs.pool(spec, place, target, language)
            outcomes, tokens = attacker(rows, entry | {"name": target}, language, journal, Progress(name))
            said = summary(outcomes)
    print(f"{name}: {said}; {time.perf_counter() - began:.1f} s", flush=True)
    return tokens


def _gather(spec: dict, place: Place) -> None:
    for target, entry in spec["targets"].items():
        for language in entry["languages"]:
            Journals(spec, place, target, language).gather()


def _parts(spec: dict, place: Place, processes: int, threads: int, out_dir: Path, cost: Path) -> int:
    """Let `processes` processes attack a part each, on their share of the threads; returns the tokens of all."""
    available = threads or int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    place.kept.mkdir(parents=True, exist_ok=True)
    text = place.kept / "spec.json"
    text.write_text(json.dumps(spec), encoding="utf-8")
    script = Path(__file__).resolve().parents[2] / "scripts" / "attack.py"
    command = [sys.executable, str(script), "--spec", f"@{text}", "--results", str(place.results)]
    command += ["--out", str(out_dir)]
    command += ["--threads", str(max(1, available // processes)), "--device", place.device]
    if place.work:
        command += ["--work", str(place.work)]
    costs = [place.kept / f"cost-{number}.json" for number in range(processes)]
    started: list[subprocess.Popen] = []
    try:
        for number, path in enumerate(costs):
            part = [*command, "--shard", f"{number}/{processes}", "--cost", str(path)]
            started.append(subprocess.Popen(part))
        while any(one.poll() is None for one in started):
            if any(one.poll() for one in started):
                break  # one has failed: the others' journals are kept
            time.sleep(0.1)
    finally:
        for one in started:
            if one.poll() is None:
                one.terminate()
        for one in started:
            one.wait()
    if failed := [number for number, one in enumerate(started) if one.returncode]:
        raise UserError(
            f"process {failed[0] + 1} of {processes} ended with status {started[failed[0]].returncode}; its message is "
            "above. What was attacked is kept: run the same command again."
        )
    return sum(files.read_json(path)["tokens"] for path in costs)


def _die_with_parent() -> None:
    """End this process when the one that started it does, even by SIGKILL (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)


def read(path: Path, entry: dict) -> list[dict]:
    """Examples of one file; UserError where one lacks a field of its kind, has a label that the task does not, or an id
    that cannot be written as UTF-8 (texts that cannot are skipped by the attack)."""
    rows = files.read_jsonl(path)
    for number, row in enumerate(rows, 1):
        missing = [name for name in NEEDED[entry["kind"]] if name not in row]
        if missing:
            raise UserError(f"{path}: row {number}: no {', '.join(missing)}; a {entry['kind']} example needs them")
        if escaped(str(row["id"])) != str(row["id"]):
            raise UserError(
                f"{path}: row {number}: id {escaped(str(row['id']))}: not valid Unicode (a lone surrogate); "
                "rows are found by their ids: give it another"
            )
        labels = row["tags"] if entry["kind"] == "tagging" else [row["label"]] if entry["kind"] == "pair" else []
        unknown = [label for label in labels if label not in entry["labels"]]
        if unknown:
            raise UserError(f"{path}: row {number}: label {unknown[0]!r}; allowed: {', '.join(entry['labels'])}")
        if entry["kind"] == "tagging" and len(row["tags"]) != len(row["tokens"]):
            raise UserError(f"{path}: row {number}: {len(row['tokens'])} tokens, but {len(row['tags'])} tags")
    return rows
