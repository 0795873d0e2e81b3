"""A study: the grid of cells and attacks that one config file asks for, checked against the catalog.

cell = model x intermediate x seed, with the targets it is evaluated on. Everything here is planning: no data is read
(but for the existence of local files) and nothing heavy is imported, so that a dry run stays quick.
"""

from __future__ import annotations

import functools
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from xstilts import attack_needs, grid
from xstilts import catalog as catalogs
from xstilts.errors import UserError
from xstilts.findings import unique
from xstilts.hub.mirror import Mirror
from xstilts.identity import ROOT
from xstilts.mixing import NONE, Mixture

__all__ = ["NONE", "Mixture", "Study", "load", "options"]
ENGLISH = "en"


@dataclass
class Study:
    """A checked study. Cells are in the order of the config; `notices` says what was left out.

    attack_cells: (attack, model, intermediate, seed) -> {targets, languages by target, examples, seconds, stand_ins}.
    transfer_cells: (attack, source's name, model, intermediate, seed) -> {source, targets, languages by target}.
    not_run: {attack, target, languages, why} of what attacks cannot do. stand_in_cells: trainings of attacks' masked
    language models that the grid lacks.
    """

    name: str
    config: dict
    file: str
    catalog: catalogs.Catalog
    mixtures: dict[str, Mixture] = field(default_factory=dict)
    cells: dict[tuple[str, str, int], list[str]] = field(default_factory=dict)
    attack_cells: dict[tuple[str, str, str, int], dict] = field(default_factory=dict)
    transfer_cells: dict[tuple[str, str, str, str, int], dict] = field(default_factory=dict)
    stand_in_cells: list[tuple[str, str, int]] = field(default_factory=list)
    not_run: list[dict] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    changes: dict = field(default_factory=dict)  # keys that the command line gave in place of the file's

    # ---- what is in the study, each in a stable order
    @property
    def models(self) -> list[str]:
        """Every model that a job loads: those of the grid, then stand-ins of attacks."""
        asked = [name for cell in self.attack_cells.values() for name in attack_needs.models(cell["stand_ins"])]
        return unique([*self.grid_models, *asked])

    @property
    def grid_models(self) -> list[str]:
        """Models that are trained and evaluated."""
        return unique(model for model, _, _ in self.cells)

    @property
    def intermediates(self) -> list[str]:
        """Intermediates of the grid."""
        return unique(name for _, name, _ in self.cells)

    @property
    def encoders(self) -> list[tuple[str, str, int]]:
        """Cells whose intermediate training the study needs: those of the grid, then stand-ins of attacks."""
        return [*(cell for cell in self.cells if cell[1] != NONE), *self.stand_in_cells]

    @property
    def seeds(self) -> list[int]:
        return unique(seed for _, _, seed in self.cells)

    @property
    def targets(self) -> list[str]:
        """Targets of any cell, in the catalog's order."""
        used = {target for targets in self.cells.values() for target in targets}
        return [name for name in self.catalog.targets if name in used]

    @property
    def retrieval_targets(self) -> list[str]:
        """Targets that the encoder itself is evaluated on, without target training."""
        return [target for target in self.targets if self.kind(target) == "retrieval"]

    @property
    def attacks(self) -> list[str]:
        return unique(attack for attack, _, _, _ in self.attack_cells)

    @property
    def challenges(self) -> list[str]:
        """Static sets that attacks of the study put to its models."""
        sets = (self.catalog.attacks[attack].identity["set"] for attack in self.attacks)
        return unique(one["task"] for one in sets if one)

    @property
    def tests(self) -> list[str]:
        """Every task that is prepared as a test: targets, then static sets."""
        return [*self.targets, *self.challenges]

    @property
    def demonstration(self) -> bool:
        """True where data is generated or cut short, or training lasts a demo's few steps: then nothing is evidence.

        Text to be unmasked is without end, so that an amount of it (`data.text`) cuts nothing short.
        """
        capped = any(self.config["data"][split] is not None for split in ("train", "dev", "test"))
        return capped or "embedded" in self.config["sources"] or self.config["training"]["preset"] == "demo"

    def languages(self, task: str) -> list[str]:
        """The study's languages of one target or variant, in the task's own order; all of a static set's."""
        own = self.catalog.task_languages(task)
        if "challenge" in self.catalog.tasks[task].identity["roles"]:
            return own
        asked = self.config["target_languages"].get(task, self.config["languages"])
        return own if asked == "all" else [code for code in own if code in asked]

    def train_languages(self, task: str) -> list[str]:
        """Languages of a task's training data: English, but a variant's are the study's."""
        return self.languages(task) if task in self.catalog.variants else [ENGLISH]

    def train_splits(self, task: str) -> dict[str, list[str]]:
        """Split -> languages of a training preparation. Dev is English; text that is only to be unmasked has none."""
        languages = self.train_languages(task)
        scored = ENGLISH in languages and not (task in self.catalog.tasks and self.kind(task) == "mlm")
        return {"train": languages, **({"dev": [ENGLISH]} if scored else {})}

    def kind(self, task: str) -> str:
        """The task's kind: pair, tagging, span_qa, choice, retrieval or mlm."""
        return self.catalog.tasks[task].identity["kind"]

    def mines(self, task: str) -> bool:
        """Whether a task is to find pairs in pools (BUCC): it has dev pools, which no training reads."""
        return self.catalog.tasks[task].identity["options"].get("mining") == "margin"

    def cap(self, task: str, split: str) -> int | None:
        """Most examples of a split (None: all); text to be unmasked has a cap of its own, where the study gives it."""
        data = self.config["data"]
        own = split == "train" and self.kind(task) == "mlm" and data["text"] is not None
        return data["text" if own else split]

    def training_tasks(self, targets: list[str]) -> list[str]:
        """The distinct target trainings that serve `targets` (XQuAD and MLQA share SQuAD's)."""
        return unique(task for task in map(self.training_task, targets) if task)

    def training_task(self, target: str) -> str | None:
        return self.catalog.tasks[target].identity["training_task"]

    def served(self, training_task: str) -> list[str]:
        """Targets of this study that are evaluated with the model trained on `training_task`."""
        return [target for target in self.targets if self.training_task(target) == training_task]

    def intermediate_tasks(self, intermediate: str) -> tuple[str, ...]:
        """The tasks behind an intermediate: one, or a mixture's, or none."""
        if intermediate == NONE:
            return ()
        return self.mixtures[intermediate].tasks if intermediate in self.mixtures else (intermediate,)

    def source(self, task: str) -> tuple[str, list[dict]]:
        """(name, parts) of the first source in the study's order that the task has and that can be used here.

        What `xstilts fetch` put into data_root is no data of the user's own: where the study may use the hub, it is
        read as source `hub` in the place of `local`. Results are then the same with and without the copy, and a
        copy, as one's own data would, comes before generated data that stands after `local`.
        """
        names = ["hub" if name == "local" and self._fetched(task) else name for name in self.config["sources"]]
        usable = [name for name in names if self._usable(name, task)]
        try:
            name, parts = self.catalog.task_source(task, usable)
            return name, self._local_parts(task) if name == "local" else parts
        except UserError as error:
            raise UserError(
                f"{self.file}: sources: {self.config['sources']} (data_root: {self.config['data_root']}): {error}"
            ) from None

    @functools.cached_property
    def mirror(self) -> Mirror | None:
        """What `xstilts fetch` put into data_root; None where it put nothing there."""
        return Mirror.read(self.config["data_root"])

    def _usable(self, source: str, task: str) -> bool:
        """Whether a source can be used for a task: `local` needs the task's folders, `licensed` a path."""
        if source == "local":
            return all(self._there(part) for part in self._local_parts(task))
        return source != "licensed" or any(self.config["licensed"].values())

    def _local_parts(self, task: str) -> list[dict]:
        """The task's local parts; one that `replaces` another takes its place where its own folder is there."""
        parts = self.catalog.tasks[task].sources.get("local", [])
        parts = [part for part in parts if "replaces" not in part or self._there(part)]
        replaced = {part.get("replaces") for part in parts}
        return [part for part in parts if part["folder"] not in replaced]

    def _there(self, part: dict) -> bool:
        """Whether data_root has a local part's folder."""
        root = self.config["data_root"]
        return bool(root) and Path(root, part["folder"]).is_dir()

    def _fetched(self, task: str) -> bool:
        """Whether a task's local data is, in whole or in part, a copy of the hub that the study may read as such."""
        if "hub" not in self.config["sources"] or "hub" not in self.catalog.tasks[task].sources:
            return False
        parts = self._local_parts(task) if self._usable("local", task) else []
        return bool(parts and self.mirror) and any(part["folder"] in self.mirror.folders for part in parts)

    def refused(self) -> list[str]:
        """What the study can plan and must not run: mining where the source has the gold pairs and no distractors."""
        order, found = self.config["sources"], []
        for task in self.targets:
            if not self.mines(task) or self.source(task)[0] != "hub":
                continue
            local, ways = self.catalog.tasks[task].sources.get("local", []), []
            if local and "local" not in order[: order.index("hub")]:
                first = dict.fromkeys([*order[: order.index("hub")], "local", *order])
                ways.append(f"write `sources: [{', '.join(first)}]` (its pools are source `local`)")
            if local and not self._usable("local", task):
                looked = (
                    ", which `python -m xstilts fetch` looks for,"
                    if any(part.get("archives") for part in local)
                    else ""
                )
                ways.append(f"put its pools{looked} into <data_root>/{local[-1]['folder']}/ (docs/data.md)")
            found.append(
                f"{task}: the hub has its gold pairs alone, with which F1 is far too high. Next: "
                + " and ".join(ways)
                + (", or " if ways else "")
                + "leave it out of `targets`"
            )
        return found

    def unpinned(self) -> list[str]:
        """Hub ids (data sets and models) that the study needs and catalog/revisions.lock does not pin."""
        ids = [
            part["id"]
            for task in self.data_tasks()
            for name, parts in [self.source(task)]
            if name == "hub"
            for part in parts
        ]
        sources = [self.catalog.models[model].identity["source"] for model in self.models]
        hub = [source for source in sources if source["type"] == "hub"]
        ids += [place["id"] for source in hub for place in (source, source.get("tokenizer") or source)]
        return [name for name in unique(ids) if name not in self.catalog.revisions]

    def trained_tasks(self) -> list[str]:
        """Every task whose training data the study reads."""
        trained = [task for _, name, _ in self.encoders for task in self.intermediate_tasks(name)]
        return unique([*trained, *self.training_tasks(self.targets)])

    def data_tasks(self) -> list[str]:
        """Every task whose data the study reads, for training or as a test."""
        return unique([*self.trained_tasks(), *self.tests])


def load(config: dict, file: str, root: Path = ROOT) -> Study:
    """Check a study config against its schema and the catalog. Raises UserError before anything is planned."""
    catalog = catalogs.load(root)
    config = catalogs.validate(config, "study", file, root)
    study = Study(config["study"], config, file, catalog)
    grid.fill(study)
    grid.check(study)
    return study


def options(changes: dict, before: str = " --config ") -> str:
    """`--config KEY=VALUE ...` quoted for a shell, `before` it included; nothing without changes."""
    shown = (
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in changes.items()
    )
    return before + " ".join(map(shlex.quote, shown)) if changes else ""
