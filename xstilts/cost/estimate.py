"""The jobs of a study, what of them is done, and what the others take: seconds of a device, each with its basis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from xstilts import paths
from xstilts.cost import sizes
from xstilts.cost.amounts import ORDER, Amount, Amounts
from xstilts.cost.rates import MEASURED, PREDICT, TRAIN, Rates, Speed, Work, operations
from xstilts.files import read_json
from xstilts.identity import canonical
from xstilts.outputs import Outputs
from xstilts.study import NONE, Study
from xstilts.training.settings import of_model

STAGES = ("intermediate", "target", "evaluate", "retrieval", "attack", "transfer")


@dataclass
class Job:
    """One job: what it reads, and the seconds that it takes on one device; `seconds` None where that cannot be told."""

    stage: str
    model: str
    key: tuple
    amount: Amount
    done: bool = False
    seconds: float | None = None
    basis: str = ""
    speeds: list[Speed] = field(default_factory=list)

    @property
    def unknown(self) -> bool:
        """Whether its time, or a part of it, cannot be told."""
        return self.seconds is None or bool(self.amount.unknown)

    @property
    def tokens(self) -> float:
        return self.amount.tokens + self.amount.read


@dataclass
class Row:
    """All jobs of one stage and model."""

    stage: str
    model: str
    jobs: list[Job]

    @property
    def left(self) -> list[Job]:
        return [job for job in self.jobs if not job.done]

    @property
    def told(self) -> list[Job]:
        """Those still to do whose time can be told."""
        return [job for job in self.left if job.seconds is not None]

    @property
    def seconds(self) -> float:
        return sum(job.seconds for job in self.told)

    @property
    def tokens(self) -> float:
        return sum(job.tokens for job in self.left)

    def weakest(self, what: str) -> str:
        """The weakest basis of its tokens (`amount`) or of its seconds (`basis`) among the jobs still to do."""
        found = [job.amount.basis if what == "amount" else job.basis for job in self.told]
        return max(found, key=ORDER.index, default="")

    @property
    def updates(self) -> float:
        return sum(job.amount.updates for job in self.left)

    @property
    def unknown(self) -> int:
        """How many of those still to do cannot be told, in whole or in part."""
        return sum(job.unknown for job in self.left)

    @property
    def most(self) -> bool:
        """Whether the hours are an upper bound: all is known and measured, and some of it may be less."""
        return any(job.amount.most for job in self.told) and not self.unknown and self.weakest("basis") == MEASURED


def jobs(study: Study, amounts: Amounts, queries: dict, root: Path) -> list[Job]:
    """Every training, evaluation, retrieval, attack and transfer job of a study, in the order of its cells."""
    found, done = [], Done(study, amounts, root)
    for model, name, seed in study.cells:
        cell, targets = (model, name, seed), study.cells[model, name, seed]
        if name != NONE:
            tasks, mixture = list(study.intermediate_tasks(name)), study.mixtures.get(name)
            amount = amounts.training("intermediate", model, tasks, mixture)
            found.append(Job("intermediate", model, cell, amount, done.encoder(cell)))
        for task in study.training_tasks(targets):
            amount = amounts.training("target", model, [task])
            found.append(Job("target", model, (*cell, task), amount, done.target(cell, task)))
            served = [target for target in study.served(task) if target in targets]
            amount = amounts.predictions(model, served, trained=True)
            found.append(Job("evaluate", model, (*cell, task), amount, done.evaluated(cell, task, served)))
        searched = [target for target in targets if target in study.retrieval_targets]
        if searched:
            amount = amounts.predictions(model, searched, trained=False)
            found.append(Job("retrieval", model, cell, amount, done.retrieved(cell, searched)))
    for cell in study.stand_in_cells:  # heads that attacks ask beside their victims
        tasks, mixture = list(study.intermediate_tasks(cell[1])), study.mixtures.get(cell[1])
        amount = amounts.training("intermediate", cell[0], tasks, mixture)
        found.append(Job("intermediate", cell[0], cell, amount, done.encoder(cell)))
    for key in study.attack_cells:
        found.append(Job("attack", key[1], key, amounts.attack(key, queries), done.attacked(key)))
    for key in study.transfer_cells:
        found.append(Job("transfer", key[2], key, amounts.transfer(key), done.transferred(key)))
    return found


class Done:
    """Which jobs are done: a checkpoint by the spec that it was made with, what follows it by its files."""

    def __init__(self, study: Study, amounts: Amounts, root: Path):
        self.study, self.specs, self.root = study, amounts.specs, root
        self.files, self.kept = Outputs(study), {}

    def encoder(self, cell: tuple) -> bool:
        return cell[1] == NONE or self._made(paths.ENCODER, cell, "", lambda: self.specs.intermediate(*cell))

    def target(self, cell: tuple, task: str) -> bool:
        return self.encoder(cell) and self._made(paths.TARGET, cell, task, lambda: self.specs.target(*cell, task))

    def evaluated(self, cell: tuple, task: str, targets: list[str]) -> bool:
        return self.target(cell, task) and self._there(cell, self.files.predictions(targets))

    def retrieved(self, cell: tuple, targets: list[str]) -> bool:
        return self.encoder(cell) and self._there(cell, self.files.predictions(targets))

    def attacked(self, key: tuple) -> bool:
        tasks = self.study.training_tasks(self.study.attack_cells[key]["targets"])
        before = self.encoder(key[1:]) and all(self.target(key[1:], task) for task in tasks)
        return before and self._there(key[1:], self.files.attack_files(key))

    def transferred(self, key: tuple) -> bool:
        cell = self.study.transfer_cells[key]
        origin = (key[0], *(cell["source"][part] for part in ("model", "intermediate", "seed")))
        before = all(self.target(key[2:], task) for task in self.study.training_tasks(cell["targets"]))
        return self.attacked(origin) and before and self._there(key[2:], self.files.transfer_files(key))

    def _made(self, group: dict, cell: tuple, task: str, spec) -> bool:
        """Whether a checkpoint is there that was made with this very spec."""
        if (cell, task) not in self.kept:
            folder = Path(self._path(group["config"], cell, task)).parent
            whole = all((folder / Path(name).name).is_file() for name in group.values())
            made = read_json(folder / "config.json").get("spec") if whole else None
            self.kept[cell, task] = whole and canonical(made) == canonical(spec())
        return self.kept[cell, task]

    def _there(self, cell: tuple, files: dict[str, str]) -> bool:
        return all(Path(self._path(name, cell)).is_file() for name in files.values())

    def _path(self, template: str, cell: tuple, task: str = "") -> Path:
        model, intermediate, seed = cell
        names = {"study": self.study.name, "model": model, "intermediate": intermediate, "seed": seed, "task": task}
        return self.root / template.format(**names)


def fill(study: Study, found: Iterable[Job], rates: Rates) -> None:
    """Give every job its seconds on one device of the rates, and their basis: the weakest of its tokens', its speeds'
    and its start-up's."""
    for job in found:
        amount, kind, model = job.amount, _kind(study, job), study.catalog.models[job.model]
        if amount.unknown and not job.tokens:
            continue
        phase = TRAIN if amount.tokens else PREDICT
        startup, _, basis = rates.startup(job.model, phase)
        job.seconds, bases = startup or 0.0, [amount.basis, *([basis] if startup else [])]
        for tokens, squares, updates, way in (
            (amount.tokens, amount.squares, amount.updates, TRAIN),
            (amount.read, amount.read_squares, 0.0, PREDICT),
        ):
            if tokens:
                work = _work(study, job.model, way, tokens / updates if updates else None)
                speed = rates.speed(way, kind, model, work)
                job.seconds += speed.seconds(operations(model, tokens, squares, work), tokens, updates)
                job.speeds.append(speed)
                bases.append(speed.basis)
        job.basis = max(bases, key=ORDER.index)


def _work(study: Study, model: str, phase: str, per_update: float | None) -> Work:
    """How the study's jobs of one phase work."""
    training = study.config["training"]
    if phase == PREDICT:
        return Work("none", training["precision"])
    rank = training["lora"]["rank"] if training["trainable"] == "lora" else None
    twice = of_model(model, study.catalog.root / "catalog" / "models").gradient_checkpointing
    return Work(training["trainable"], training["precision"], training["optimiser"], rank, twice, per_update)


def _kind(study: Study, job: Job) -> str:
    if job.stage in ("retrieval", "attack", "transfer"):
        return job.stage
    tasks = study.intermediate_tasks(job.key[1]) if job.stage == "intermediate" else (job.key[-1],)
    return study.kind(tasks[0]) if len(tasks) == 1 else "mixture"


def rows(found: Iterable[Job]) -> list[Row]:
    """Jobs by stage, then model, in the order in which they run."""
    groups = defaultdict(list)
    for job in found:
        groups[job.stage, job.model].append(job)
    return [Row(stage, model, group) for stage in STAGES for (name, model), group in groups.items() if name == stage]


def queries(places: Iterable[Path], catalog) -> dict[tuple[str, str], float]:
    """(attack, kind) -> queries an example, the mean over the outcomes in results folders."""
    found = defaultdict(list)
    for place in places:
        for path in sorted(place.glob("attacks/*/*/*/s*/*/*.jsonl")):
            attack, task = path.relative_to(place / "attacks").parts[0], path.parent.name
            if task in catalog.tasks:
                rows = sizes.outcomes(path)
                found[attack, catalog.tasks[task].identity["kind"]] += [row.get("queries", 0) for row in rows]
    return {key: sum(values) / len(values) for key, values in found.items() if values}
