"""How much a study reads: examples, steps and tokens of each job, each with where the number is from.

Examples are counted where they lie (prepared by this study, or files of the user's own), else they are what the catalog
documents, under the study's caps. Tokens an example: xstilts/cost/lengths.py.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

from xstilts import attack_needs, paths
from xstilts.cost import lengths
from xstilts.cost.rates import ASSUMED, MEASURED, SCALED
from xstilts.embedded import DEFAULT_SIZE
from xstilts.outputs import Outputs
from xstilts.specs import Specs
from xstilts.study import ENGLISH, Study
from xstilts.training import mixtures

ORDER = (MEASURED, SCALED, ASSUMED)
BOTH_SIDES = 2  # retrieval: a prepared row a sentence, and a pair has two
NUMBER = r"\d+(?:,\d{3})*"


@dataclass
class Amount:
    """Tokens of a job: `tokens` and `squares` (xstilts.training.accounting) of training, `read` and `read_squares` of
    what is only predicted; `updates` of the optimiser; the weakest `basis` of what it is made of; `most`: where it may
    be less; `unknown`: why it, or a part of it, cannot be told."""

    tokens: float = 0.0
    squares: float = 0.0
    read: float = 0.0
    read_squares: float = 0.0
    examples: float = 0.0
    updates: float = 0.0
    basis: str = MEASURED
    most: bool = False
    why: list[str] = field(default_factory=list)
    unknown: str = ""

    def weaken(self, basis: str, why: str = "") -> None:
        """Note that a part of it is of this basis."""
        self.basis = max(self.basis, basis, key=ORDER.index)
        self.why += [why] if why and why not in self.why else []


@dataclass(frozen=True)
class Count:
    """A number of examples; `most`: it may be smaller."""

    n: int | None
    basis: str = MEASURED
    why: str = ""
    most: bool = False


class Amounts:
    """Amounts of every job of one study; `root`: the folder that holds results/."""

    def __init__(self, study: Study, root: Path):
        self.study, self.specs, self.root = study, Specs(study), root
        self.kinds = lengths.kinds(study.catalog)

    @functools.cache  # noqa: B019  one study a process
    def count(self, task: str, split: str, language: str) -> Count:
        """Examples of one prepared file (retrieval: rows, of both sides)."""
        path = self.root / paths.examples(task, language, split).format(study=self.study.name)
        if path.is_file():
            return Count(_lines(path), why="prepared")
        cap, source = self.study.cap(task, split), self.study.source(task)[0]
        retrieval = self.study.kind(task) == "retrieval"
        if source == "embedded":
            n = (cap or DEFAULT_SIZE[split]) * (BOTH_SIDES if retrieval else 1)
            return Count(n * (BOTH_SIDES if self.study.mines(task) else 1), why="generated")
        if source in ("local", "licensed") and not retrieval and (found := self._own(task, split, language)):
            return Count(min(found, cap or found), why="lines of your files")
        if self.study.mines(task):
            return Count(None, ASSUMED, f"{task}: the sizes of its pools are known once they are prepared")
        sizes = self.study.catalog.tasks[task].documentation.get("sizes") or {}
        n, most = documented(sizes, split, language)
        if n is None and cap is None:
            return Count(None, ASSUMED, f"{task}: the catalog documents no number of {split} examples")
        why = f"an upper bound of the catalog, {task} {split}" if n else f"all of data.{split}, for {task}"
        rows = min(value for value in (n, cap) if value is not None) * (BOTH_SIDES if retrieval else 1)
        return Count(rows, ASSUMED if n is None else SCALED if most else MEASURED, why, most or n is None)

    def _own(self, task: str, split: str, language: str) -> int:
        spec = self.specs.prepare_train(task) if split != "test" else self.specs.prepare_test(task)
        spec = {**spec, "splits": {split: None}, "languages": [language], "split_languages": {}}
        try:
            return sum(_lines(Path(name)) for name in Outputs(self.study).local_files(spec))
        except OSError:
            return 0

    def length(self, task: str, split: str, max_length: int) -> lengths.Length | None:
        return lengths.of(task, self.study.kind(task), split, max_length, self.study.source(task)[0], self.kinds)

    def training(self, stage: str, model: str, names: list[str], mixture=None) -> Amount:
        """Of one training on the tasks `names`: its steps by preset, and its looks at English dev."""
        found, own, sizes, each, hypers = Amount(), {}, {}, {}, {}
        for task in names:
            hyper = hypers[task] = self.specs.hyper(task, stage, model)
            counts = [self.count(task, "train", code) for code in self.study.train_languages(task)]
            length = self.length(task, "train", hyper["max_length"])
            missing = [one.why for one in counts if one.n is None] + ([] if length else [f"{task}: no length is known"])
            if missing:
                return Amount(unknown=missing[0])
            for one in counts:
                found.weaken(one.basis, one.why if one.basis != MEASURED else "")
            found.most |= any(one.most for one in counts)
            found.most |= self.study.kind(task) == "mlm"  # a line may be shorter than is assumed
            found.weaken(length.basis, length.why if length.basis != MEASURED else "")
            sizes[task], each[task] = sum(one.n for one in counts), length
            own[task] = mixtures.own_steps(round(sizes[task] * length.features), hyper)
        sampling = mixture.sampling if mixture else {}
        steps = (mixture.steps if mixture else None) or mixtures.all_steps(own, sampling)
        shares, found.updates = mixtures.shared(sizes, sampling), steps
        for task in names:
            hyper, length = hypers[task], each[task]
            features = shares[task] * steps * hyper["batch_size"]
            if len(names) == 1 and hyper.get("epochs"):  # the last batch of an epoch is not full
                features = min(features, hyper["epochs"] * sizes[task] * length.features)
            found.examples += features
            found.tokens += features * length.tokens / length.features
            found.squares += features * length.squares / length.features
            self._look(found, task, hyper, length, steps)
        return found

    def _look(self, found: Amount, task: str, hyper: dict, length: lengths.Length, steps: int) -> None:
        """Add what the looks at English dev read."""
        if "dev" not in self.study.train_splits(task):
            return
        dev = self.count(task, "dev", ENGLISH)
        if dev.n is None and not hyper.get("eval_examples"):
            found.unknown = f"{dev.why}: looks at its English dev set"
            return
        n = min(value for value in (dev.n, hyper.get("eval_examples")) if value)
        often = hyper.get("selection") == "english_dev_best" and hyper.get("eval_every")
        looks = -(-steps // hyper["eval_every"]) if often else 1
        found.most |= bool(often and hyper.get("patience"))
        found.read += looks * n * length.tokens
        found.read_squares += looks * n * length.squares

    def predictions(self, model: str, targets: list[str], trained: bool, languages: dict | None = None) -> Amount:
        """Of one evaluation (`trained`) or retrieval of `targets`, in all the study's languages, or in `languages` by
        target. Retrieval reads equal sentences once, which is not known before."""
        found = Amount(most=not trained)
        for target in targets:
            hyper = self.specs.hyper(self.study.training_task(target) or target, "target", model)
            length = self.length(target, "test", hyper["max_length"])
            splits = ("dev", "test") if not trained and self.study.mines(target) else ("test",)
            for code in (languages or {}).get(target) or self.study.languages(target):
                for one in (self.count(target, split, code) for split in splits):
                    if one.n is None or length is None:
                        found.unknown = found.unknown or one.why or f"{target}: no length is known"
                        continue
                    found.weaken(one.basis, one.why if one.basis != MEASURED else "")
                    found.weaken(length.basis, length.why if length.basis != MEASURED else "")
                    found.most |= one.most
                    found.examples += one.n
                    found.read += one.n * length.tokens
                    found.read_squares += one.n * length.squares
        return found

    def attack(self, key: tuple, queries: dict[tuple[str, str], float]) -> Amount:
        """Of one attack: every attacked example once as it is, and once a query. `queries`: (attack, kind) -> their
        measured mean; without it the attack's budget, which is the most there can be. A static set is read once."""
        attack, model, cell = key[0], key[1], self.study.attack_cells[key]
        identity, found = self.study.catalog.attacks[attack].identity, Amount()
        if identity["set"]:
            return self.predictions(model, [identity["set"]["task"]], trained=True)
        for target in cell["targets"]:
            kind = self.study.kind(target)
            limits = {**identity["budget"], **(identity["budget"].get("by_kind") or {}).get(kind, {})}
            mean, budget = queries.get((attack, kind)), limits["queries"]
            if mean is None and budget is None:
                found.unknown = found.unknown or f"{attack}: it has no limit of queries, and none were counted yet"
                continue
            found.most |= mean is None
            found.weaken(
                SCALED if mean is not None else ASSUMED, "" if mean is not None else f"{attack}: all its budget"
            )
            self._read(found, model, target, cell, 1 + (budget if mean is None else mean))
        if attack_needs.models(cell["stand_ins"]) and not found.unknown:
            found.unknown = f"{attack}: what its stand-ins read"
        return found

    def transfer(self, key: tuple) -> Amount:
        """Of one transfer: at most every example that was attacked on the source, once as it was and once changed."""
        attack, model, cell = key[0], key[2], self.study.transfer_cells[key]
        origin = (attack, *(cell["source"][part] for part in ("model", "intermediate", "seed")))
        found = Amount(most=True)
        for target in cell["targets"]:
            self._read(found, model, target, {**cell, "examples": self.study.attack_cells[origin]["examples"]}, 2)
        return found

    def _read(self, found: Amount, model: str, target: str, cell: dict, times: float) -> None:
        """Add what reading the sampled examples of a target `times` times takes."""
        retrieval, codes = self.study.kind(target) == "retrieval", cell["languages"][target]
        own = self.predictions(model, [target], not retrieval, {target: codes})
        if not own.examples:
            found.unknown = found.unknown or own.unknown
            return
        rows = own.examples / BOTH_SIDES if retrieval else own.examples
        rows = min(rows, cell["examples"] * len(codes)) if cell["examples"] else rows
        found.weaken(own.basis)
        share = rows * times / own.examples + retrieval  # and the pool, once
        found.examples += rows
        found.read += share * own.read
        found.read_squares += share * own.read_squares


def documented(sizes: dict, split: str, language: str) -> tuple[int | None, bool]:
    """(examples of a language in the catalog's words, whether there may be fewer): `392,702 (source)`, `5,010 a
    language`, `ar 921, bn 113`, `46 to 19,233 a language`, `as dev`."""
    text = str(sizes.get(split) or "")
    if text.startswith("as "):
        text = str(sizes.get(text.split()[1]) or "")
    if own := re.search(rf"\b{language} ({NUMBER})", text):
        return _number(own[1]), False
    if spread := re.match(rf"{NUMBER} to ({NUMBER})", text):
        return _number(spread[1]), True
    if added := re.match(rf"{NUMBER}(?: \+ {NUMBER})+", text):
        return sum(_number(part) for part in added[0].split(" + ")), False
    first = re.match(rf"(about )?({NUMBER})(,| or)?", text)
    return (_number(first[2]), bool(first[1] or first[3])) if first else (None, False)


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _lines(path: Path) -> int:
    with open(path, "rb") as handle:
        return sum(1 for line in handle if line.strip())
