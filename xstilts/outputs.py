"""Which files the jobs of a study read and write: named outputs, and the user's own files as inputs."""

from __future__ import annotations

from pathlib import Path

from xstilts import attack_needs, paths
from xstilts.data import ccgbank
from xstilts.findings import unique
from xstilts.models import folder
from xstilts.study import Study


class Outputs:
    """Files of every job of one study. Templates keep their wildcards as far as a rule needs them."""

    def __init__(self, study: Study):
        self.study = study
        self.config = study.config

    def local_files(self, spec: dict) -> list[str]:
        """Files of the user's data folder that a prepare job reads (inputs that Snakemake checks and hashes)."""
        if spec["source"] == "licensed":
            splits = [part["splits"].get(split) for part in spec["parts"] for split in spec["splits"]]
            names = [name["from"] if isinstance(name, dict) else name for name in splits if name]
            root = Path(self.config["licensed"]["ccgbank"])
            return sorted({str(path) for name in names for path in ccgbank.inputs(root, name)})
        if spec["source"] != "local":
            return []
        files = []
        for part in spec["parts"]:
            for split in spec["splits"]:
                name = part["splits"].get(split)
                for language in spec.get("split_languages", {}).get(split, spec["languages"]) if name else ():
                    code = (part.get("codes") or {}).get(language, language)
                    name = name["from"] if isinstance(name, dict) else name
                    sides = ("_source", "_target", "_gold") if spec["options"].get("mining") == "margin" else ("",)
                    files += [
                        Path(self.config["data_root"], part["folder"], code, f"{name}{side}.jsonl") for side in sides
                    ]
        return sorted({str(path) for path in files})

    def model_folder(self, name: str) -> Path:
        """The user's folder of a local model."""
        entry = self.study.catalog.models[name]
        return folder.place(entry.identity["source"], self.study.catalog.root, f"catalog/models/{name}.yaml")

    def model_files(self, name: str) -> list[Path]:
        """The files of a local model that make it what it is; UserError where one is missing."""
        return folder.files(self.model_folder(name), f"catalog/models/{name}.yaml")

    def model_folders(self) -> dict[str, str]:
        """Local model -> its folder, for the environment of jobs: no spec and no shell line holds a path."""
        models = self.study.catalog.models
        names = [name for name in self.study.models if models[name].identity["source"]["type"] == "local"]
        return {name: str(self.model_folder(name)) for name in names}

    def prepared_train(self, task: str) -> dict[str, str]:
        """Named outputs of a training preparation: `train` and `dev` in English, a variant's `train_<language>`."""
        variant = task in self.study.catalog.variants
        return {
            f"{split}_{language}" if variant else split: paths.examples(task, language, split)
            for split, languages in self.study.train_splits(task).items()
            for language in languages
        }

    def test_splits(self, target: str) -> tuple[str, ...]:
        """Splits of a test preparation: mining's threshold is chosen on dev pools, which no training reads."""
        return ("dev", "test") if self.study.mines(target) else ("test",)

    def prepared_test(self, target: str) -> dict[str, str]:
        """Named outputs of a test preparation: examples and gold of every language."""
        kind, files = self.study.kind(target), {}
        for language in self.study.languages(target):
            for split in self.test_splits(target):
                files[f"{split}_{language}"] = paths.examples(target, language, split)
            files[f"gold_{language}"] = paths.gold(target, kind, language)
        return files

    def predictions(self, targets: list[str]) -> dict[str, str]:
        """Named outputs of an evaluation: one prediction file a target and language."""
        return {
            f"{target}_{language}": paths.predictions(target, self.study.kind(target), language)
            for target in targets
            for language in self.study.languages(target)
        }

    def attack_examples(self, attack: str, cell: dict) -> list[str]:
        """Prepared files that an attack or transfer job reads (only {study} is left to fill), and no other language.

        `cell`: its targets and languages; of an attack its stand-ins too, whose texts to mix in are read beside.
        """
        identity, found = self.study.catalog.attacks[attack].identity, []
        for target in cell["targets"]:
            task = identity["set"]["task"] if identity["set"] else target
            others = attack_needs.mixed(self.study, identity, cell["stand_ins"], target) if "stand_ins" in cell else ()
            codes = unique([*cell["languages"][target], *(others or ())])
            found += [paths.examples(task, code, "test") for code in codes]
        return unique(found)

    def attack_files(self, attack_cell: tuple) -> dict[str, str]:
        """Named outputs of one attack job (only {study} is left to fill): outcomes by target and language."""
        return self._outcomes(paths.attack_rows, self.study.attack_cells[attack_cell], self._names(attack_cell))

    def transfer_files(self, transfer_cell: tuple) -> dict[str, str]:
        """Named outputs of one transfer job (only {study} is left to fill): outcomes by target and language."""
        return self._outcomes(paths.transfer_rows, self.study.transfer_cells[transfer_cell], self._names(transfer_cell))

    def made_on_source(self, transfer_cell: tuple) -> list[str]:
        """The outcomes on the source cell whose texts one transfer job reads (only {study} is left to fill)."""
        cell = self.study.transfer_cells[transfer_cell]
        origin = tuple(cell["source"][key] for key in ("model", "intermediate", "seed"))
        return list(self._outcomes(paths.attack_rows, cell, self._names((transfer_cell[0], *origin))).values())

    def _outcomes(self, rows, cell: dict, names: dict) -> dict[str, str]:
        return {
            f"{target}_{language}": paths.fill(rows(target, language), study="{study}", **names)
            for target in cell["targets"]
            for language in cell["languages"][target]
        }

    def _names(self, key: tuple) -> dict:
        """Wildcards of an attack cell (attack, *cell) or a transfer cell (attack, source, *cell)."""
        attack, *source, model, intermediate, seed = key
        names = {"attack": attack, "model": model, "intermediate": intermediate, "seed": seed}
        return names | ({"source": source[0]} if source else {})

    def cell_folder(self, cell: tuple) -> str:
        """`<model>/<intermediate>/s<seed>`, the folder of a cell inside encoders/, targets/ and predictions/."""
        model, intermediate, seed = cell
        return f"{model}/{intermediate}/s{seed}"

    def attack_cost(self, key: tuple) -> str:
        """The timings of one attack or transfer job (only {study} is left to fill)."""
        names = self._names(key)
        return paths.fill(paths.cost("transfer" if "source" in names else "attack"), study="{study}", **names)
