"""What an attack job reads and keeps: folders, journals of outcomes, stand-ins, dictionaries, parallel texts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from xstilts import files, paths
from xstilts.attacks.journal import Journal, in_order
from xstilts.errors import UserError
from xstilts.identity import canonical, sha256
from xstilts.robustness.attacker import chosen

DATA_ROOT = "XSTILTS_DATA_ROOT"  # where local dictionaries lie


@dataclass(frozen=True)
class Place:
    """Where a job reads and keeps. `results`: the study's folder, laid out as xstilts/paths.py says; `kept`: of its
    journals; `work`: of encodings that jobs share (None: none are kept)."""

    results: Path
    kept: Path
    work: Path | None
    device: str

    def below(self, template: str, **names) -> Path:
        """A path of xstilts/paths.py below the study's folder, whatever that is called."""
        return self.results / paths.fill(template.removeprefix(paths.RESULTS + "/"), **names)

    def examples(self, spec: dict, target: str, language: str) -> Path:
        """The examples under attack: the target's, or those of the attack's static set."""
        task = spec["attack"]["set"]["task"] if spec["attack"].get("set") else target
        return self.below(paths.examples(task, language, "test"))

    def checkpoint(self, spec: dict, task: str | None) -> Path | None:
        """The folder of the target model of a training task, of the encoder without one; None: the plain model."""
        cell = {"model": spec["model"]["name"], "intermediate": spec["intermediate"], "seed": spec["seed"]}
        if task:
            return self.below(paths.TARGET_DIR, task=task, **cell)
        return None if spec["intermediate"] == "none" else self.below(paths.ENCODER_DIR, **cell)


# ---- what the attack may ask
def stand_ins(spec: dict, place: Place, where):
    """The attack's stand-in models, read when first needed; None for a static set, which asks none."""
    if spec["attack"].get("set"):
        return None
    from xstilts.robustness.standins import StandIns

    models = place.below(paths.MODEL_DIR, model="x").parent
    encoders = place.below(paths.ENCODER_DIR, model="x", intermediate="x", seed=1).parents[2]
    return StandIns(spec.get("stand_ins") or {}, models, encoders, where, spec["precision"])


def given(spec: dict, place: Place, where) -> Callable:
    """What `Attacker.given` wants: the resources of a target that are no stand-in models (`entry` has its `name`)."""

    @cache
    def aligner():
        from xstilts.evaluation.embedding import layer_at
        from xstilts.models import loading, runtime
        from xstilts.robustness.parallel import Aligner

        encoder, record = spec["stand_ins"]["encoder"], spec["stand_ins"]["encoder"]["model"]
        folder = place.below(paths.MODEL_DIR, model=record["name"])
        model = loading.load(folder, None, where, runtime.lean(spec["precision"]))
        layer = layer_at(encoder["layer"], record["layers"])
        return Aligner(model, layer, encoder["max_length"], spec["precision"], record["pre_norm"])

    @cache
    def dictionaries():
        return _dictionaries(spec["dictionaries"])

    def found(entry: dict, language: str, rows: list[dict]) -> dict:
        resources = {}
        if spec.get("dictionaries"):
            resources["translate"] = dictionaries().translate
        if entry.get("parallel"):
            from xstilts.robustness import parallel

            codes = dict.fromkeys([language, *entry["parallel"]])
            resources["parallel"] = parallel.read(place.below(paths.EXAMPLES), entry["name"], codes)
        if "phrases" in spec["attack"].get("transform", []) and (spec.get("stand_ins") or {}).get("encoder"):
            resources["align"] = aligner().align
        return resources

    return found


def _dictionaries(listed: dict[str, dict]):
    """`Dictionaries` of the spec's files, which must be those that were planned with."""
    from xstilts.data.dictionaries import EMBEDDED, Dictionaries

    found: dict[str, str | Path] = {}
    for pair, one in listed.items():
        if one["source"] == EMBEDDED:
            found[pair] = EMBEDDED
            continue
        root = os.environ.get(DATA_ROOT)
        if not root:
            raise UserError(f"dictionaries: {pair}: {one['file']}: the data folder is not known: set {DATA_ROOT} to it")
        path = Path(root, one["file"])
        if not path.is_file() or files.sha256(path) != one["sha256"]:
            raise UserError(f"{path}: not there, or another file than when the study was planned: run the study again")
        found[pair] = path
    return Dictionaries(found)


# ---- journals
def key_of(spec: dict, place: Place, target: str, language: str) -> dict:
    """What the outcomes depend on beside the code: the spec, and the files, told apart by size and time."""
    files_read = [*_victims_files(spec, place, target, language), *_stand_ins_files(spec, place, target)]
    return {"spec": sha256(canonical(spec)), "files": _states(files_read)}


def _victims_files(spec: dict, place: Place, target: str, language: str) -> list[Path]:
    """The model, the checkpoint and the examples."""
    checkpoint = place.checkpoint(spec, spec["targets"][target]["training_task"])
    asked = [place.below(paths.MODEL_DIR, model=spec["model"]["name"]), place.examples(spec, target, language)]
    return [*asked, checkpoint] if checkpoint else asked


def _stand_ins_files(spec: dict, place: Place, target: str) -> list[Path]:
    """The stand-in models and the examples in other languages; a dictionary's digest is in the spec."""
    named, found = spec.get("stand_ins") or {}, []
    for one in filter(None, (named.get("mlm"), named.get("encoder"))):
        found.append(place.below(paths.MODEL_DIR, model=one["model"]["name"]))
    if mlm := named.get("mlm"):
        cell = {"intermediate": mlm.get("intermediate", "mlm"), "seed": mlm.get("seed", 1)}
        found.append(place.below(paths.ENCODER_DIR, model=mlm["model"]["name"], **cell))
    others = spec["targets"][target].get("parallel") or []
    return found + [place.below(paths.examples(target, code, "test")) for code in others]


def _states(asked: list[Path]) -> list[list]:
    """Name, size and time of each file (of a folder its weights); those that are not there are left out."""
    found = []
    for path in asked:
        path = path / "model.safetensors" if path.is_dir() else path
        with suppress(OSError):
            status = path.stat()
            found.append([path.name, status.st_size, status.st_mtime_ns])
    return found


def pool(spec: dict, place: Place, target: str, language: str) -> Path | None:
    """Where the vectors of a retrieval target's pool are kept for other attacks on the same model; None: nowhere."""
    entry = spec["targets"][target]
    if place.work is None or entry["kind"] != "retrieval":
        return None
    same = {name: spec.get(name) for name in ("code", "model", "intermediate", "seed", "precision")}
    same |= {"hyper": entry["hyper"], "options": entry["options"]}
    seen = _states(_victims_files(spec, place, target, language))
    return place.work / "pools" / f"{sha256(canonical([same, seen]))[:16]}.npy"


class Journals:
    """The journals of one target in one language: one that was gathered, one for each process that is at work."""

    def __init__(self, spec: dict, place: Place, target: str, language: str):
        self._folder, self._key = place.kept / target / language, key_of(spec, place, target, language)
        self._gathered = self._folder / "done.jsonl"

    def of_process(self, number: int) -> Known:
        """The journal of a new process, which knows what was gathered."""
        return Known(Journal(self._folder / f"{number}-{os.getpid()}.jsonl", self._key), self.done())

    def done(self) -> dict[str, dict]:
        """id -> row of what was gathered."""
        if not self._gathered.is_file():
            return {}
        with Journal(self._gathered, self._key) as journal:
            return journal.done()

    def gather(self) -> None:
        """Put the journals of all processes, killed ones too, into one."""
        with Journal(self._gathered, self._key) as gathered:
            done = gathered.done()
            for path in sorted(self._folder.glob("*.jsonl")):
                if path == self._gathered:
                    continue
                with Journal(path, self._key) as journal:
                    for id, row in journal.done().items():
                        if id not in done:
                            gathered.add(row)
                            done[id] = row
                path.unlink()

    def rows(self, examples: list[dict], entry: dict, spec: dict) -> list[dict]:
        """What came of the examples that were to be attacked, in their order."""
        ids = [row["id"] for row in chosen(examples, entry, spec["examples"], spec["attack_seed"])]
        return in_order(self.done().values(), ids)


class Known:
    """A process's own journal, and what other ones hold that were written before it."""

    def __init__(self, journal: Journal, before: dict[str, dict]):
        self._journal, self._before = journal, before

    def done(self) -> dict[str, dict]:
        """id -> row."""
        return self._before | self._journal.done()

    def add(self, row: dict) -> None:
        """As `Journal.add`."""
        self._journal.add(row)

    def __enter__(self) -> Known:
        return self

    def __exit__(self, *_) -> None:
        self._journal.close()


def forget(place: Place) -> None:
    """Delete the job's journals: its rows are written."""
    shutil.rmtree(place.kept, ignore_errors=True)
