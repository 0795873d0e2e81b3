"""The job specs of a study: for each job one JSON object that holds everything that can change its result.

A spec is both the rule's `params` (identity, see xstilts/identity.py) and the script's `--spec`: a job cannot read
what its identity does not name. Nothing here that cannot change a result: no paths, no study name, no device.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from xstilts import attack_specs, summaries
from xstilts import catalog as catalogs
from xstilts.identity import canonical, source_digest, stage_code
from xstilts.models import folder as folders
from xstilts.outputs import Outputs
from xstilts.study import NONE, Study

# hyper-parameters that an evaluation needs; the others shape training only
INFERENCE_KEYS = ("max_length", "doc_stride", "max_query_length", "max_answer_length", "n_best", "labelled_piece")
# keys of a source's part that change no result: `replaces` chose the part, `archives` say where its files come from
DOCUMENTS = ("status", "source", "notes", "replaces", "archives", "megabytes")
HUB_DOCUMENTS = (*DOCUMENTS, "folder")  # of a hub part: its place in a fetched folder


@functools.cache
def _lexicon(path: Path) -> tuple[str, object]:
    """(digest, grammar) of a lexicon; its grammar may be the code of another lexicon."""
    return source_digest(path)[:16], catalogs.read_yaml(path).get("grammar")


class Specs:
    """Specs of every job of one study."""

    def __init__(self, study: Study):
        self.study = study
        self.config = study.config
        self.tasks = study.catalog.tasks

    # ---- data
    def prepare_train(self, task: str) -> dict:
        """Training examples of one task in its languages, and English development examples."""
        languages = self.study.train_splits(task)
        spec = self._prepare(task, languages["train"], languages)
        others = {split: codes for split, codes in languages.items() if codes != spec["languages"]}
        return self._named({**spec, "split_languages": others} if others else spec)

    def prepare_test(self, target: str) -> dict:
        """Test examples (and mining's dev pools, which set its threshold) in all the study's languages."""
        return self._named(self._prepare(target, self.study.languages(target), Outputs(self.study).test_splits(target)))

    def _prepare(self, task: str, languages: list[str], splits: Iterable[str]) -> dict:
        entry = self.tasks[task].identity
        source, parts = self.study.source(task)
        embedded = source == "embedded"
        return {
            "stage": "prepare",
            "code": stage_code("prepare") + ("+" + stage_code("embedded") if embedded else ""),
            **({"lexicons": self._lexicons(languages)} if embedded else {}),
            "task": task,
            "version": entry["version"],
            "kind": entry["kind"],
            "labels": entry.get("labels") or [],
            "options": entry["options"],
            "languages": languages,
            "splits": {split: self.study.cap(task, split) for split in splits},
            "source": source,
            "parts": [self.pinned(part) for part in parts],
            "seed": self.config["data"]["seed"],
        }

    def _named(self, spec: dict) -> dict:
        """The spec, with the English names of its languages where the source's names are made of them."""
        templates = [part.get("config") or "" for part in spec["parts"]]
        templates += [(part.get("filter") or {}).get("prefix", "") for part in spec["parts"]]
        if not any("{language_name}" in template for template in templates):
            return spec
        codes = {*spec["languages"]}.union(*spec.get("split_languages", {}).values())
        return {**spec, "language_names": {code: self.study.catalog.languages[code]["name"] for code in sorted(codes)}}

    def _lexicons(self, languages: list[str]) -> dict[str, str]:
        """Digests of the lexicons that generated data of `languages` depend on: theirs, English, shared grammars."""
        folder, found, queue = self.study.catalog.root / "catalog" / "lexicons", {}, ["en", *languages]
        while queue:
            code = queue.pop()
            path = folder / f"{code}.yaml"
            if code not in found and path.is_file():
                found[code], grammar = _lexicon(path)
                queue += [grammar] if isinstance(grammar, str) else []
        return found

    def pinned(self, part: dict) -> dict:
        """A source part with its pinned revision in place of what only documents it."""
        documents = HUB_DOCUMENTS if "id" in part else DOCUMENTS
        part = {key: value for key, value in part.items() if key not in documents}
        revision = self.study.catalog.revisions.get(part.get("id", ""), {}).get("revision")
        return {**part, "revision": revision} if "id" in part else part

    # ---- models and training
    def model(self, name: str) -> dict:
        """A model's catalog identity, with the pinned revisions or the digests of a local folder's files."""
        identity = self.study.catalog.models[name].identity
        source = identity["source"]
        if source["type"] == "hub":
            source = self._revised(source)
            if "tokenizer" in source:
                source["tokenizer"] = self._revised(source["tokenizer"])
        elif source["type"] == "local":  # what its files hold, and not where they lie
            source = {key: value for key, value in source.items() if key != "folder"}
            source["files"] = folders.digests(Outputs(self.study).model_files(name), self.study.catalog.root)
        return {"name": name, **identity, "source": source}

    def _revised(self, place: dict) -> dict:
        return {**place, "revision": self.study.catalog.revisions.get(place["id"], {}).get("revision")}

    def fetch_model(self, name: str) -> dict:
        model = self.model(name)
        return {
            "stage": "fetch_model",
            "code": stage_code("fetch_model"),
            "model": name,
            "source": model["source"],
            "identity": model,
        }

    def hyper(self, task: str, stage: str = "target", model: str | None = None) -> dict:
        """The task's hyper-parameters under the study's preset (for `model`, where its name is given) and overrides."""
        training = self.config["training"]
        return self.study.catalog.preset(task, training["preset"], training["overrides"].get(task, {}), stage, model)

    def intermediate(self, model: str, intermediate: str, seed: int) -> dict:
        mixture = self.study.mixtures.get(intermediate)
        spec = self._train("intermediate", model, intermediate, list(self.study.intermediate_tasks(intermediate)), seed)
        if mixture:
            spec.update(sampling=mixture.sampling, steps=mixture.steps)
        if all(task["kind"] == "mlm" for task in spec["tasks"]):
            spec["keep_heads"] = True  # attacks may ask it for words (catalog/attacks: stand_ins.mlm)
        return spec

    def target(self, model: str, intermediate: str, seed: int, task: str) -> dict:
        return {
            **self._train("target", model, intermediate, [task], seed),
            "encoder": self._encoder(model, intermediate, seed),
        }

    def _encoder(self, model: str, intermediate: str, seed: int) -> dict | None:
        return None if intermediate == NONE else self.intermediate(model, intermediate, seed)

    def _train(self, stage: str, model: str, intermediate: str, tasks: list[str], seed: int) -> dict:
        training = self.config["training"]
        # named where they are used: a study without them keeps its identity
        other = {"lora": training["lora"]} if training["trainable"] == "lora" else {}
        other |= {"optimiser": training["optimiser"]} if training["optimiser"] != "adamw" else {}
        return {
            "stage": stage,
            "code": stage_code("train"),
            "model": self.model(model),
            "intermediate": intermediate,
            "seed": seed,
            "precision": training["precision"],
            "trainable": training["trainable"],
            **other,
            "tasks": [
                {
                    "task": task,
                    **self.head(task),
                    "languages": self.study.train_languages(task),
                    "hyper": self.hyper(task, stage, model),
                }
                for task in tasks
            ],
        }

    def head(self, task: str) -> dict:
        identity = self.tasks[task].identity
        return {key: identity.get(key) or empty for key, empty in (("kind", ""), ("labels", []), ("options", {}))}

    # ---- evaluation
    def evaluate(self, model: str, intermediate: str, seed: int, task: str) -> dict:
        return {
            **self.cell("evaluate", model, intermediate, seed),
            "training_task": task,
            **self.head(task),
            "hyper": self.inference(task, model),
            "targets": {
                target: {"languages": self.study.languages(target), "options": self.tasks[target].identity["options"]}
                for target in self.study.served(task)
            },
        }

    def retrieval(self, model: str, intermediate: str, seed: int) -> dict:
        return {
            **self.cell("retrieval", model, intermediate, seed),
            "targets": {
                target: {
                    "languages": self.study.languages(target),
                    "options": self.tasks[target].identity["options"],
                    "hyper": self.hyper(target, model=model),
                }
                for target in self.study.retrieval_targets
            },
        }

    def attack(self, attack: str, model: str, intermediate: str, seed: int) -> dict:
        return attack_specs.attack(self, (attack, model, intermediate, seed))

    def transfer(self, attack: str, source: str, model: str, intermediate: str, seed: int) -> dict:
        return attack_specs.transfer(self, (attack, source, model, intermediate, seed))

    def cell(self, stage: str, model: str, intermediate: str, seed: int) -> dict:
        return {
            "stage": stage,
            "code": stage_code(stage),
            "model": self.model(model),
            "intermediate": intermediate,
            "seed": seed,
            "precision": self.config["training"]["precision"],
        }

    def inference(self, task: str, model: str) -> dict:
        return {key: value for key, value in self.hyper(task, model=model).items() if key in INFERENCE_KEYS}

    # ---- of the whole study
    def check_data(self) -> dict:
        return summaries.check_data(self)

    def analyse(self) -> dict:
        return summaries.analyse(self)

    def report(self) -> dict:
        return summaries.report(self)


def text(spec: dict) -> str:
    """The spec as a rule's `params` value and as `--spec` on a command line."""
    return canonical(spec)
