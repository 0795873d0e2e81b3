"""What an attack on one file may ask beside its victim, from folders and files that the command line names."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from xstilts import files
from xstilts.attacks import candidates
from xstilts.catalog import Catalog
from xstilts.errors import UserError
from xstilts.models import loading, runtime
from xstilts.robustness.standins import StandIns


@dataclass(frozen=True)
class Given:
    """What the attack may ask beside its victim; which of it one needs, its catalog entry says.

    `mlm`: a checkpoint with a head of kind mlm, trained from `mlm_base`; `encoder`: a model folder; `dictionaries`:
    en-de -> file of two columns, or `embedded`; `parallel`: language -> the same examples in it.
    """

    mlm: Path | None = None
    mlm_base: Path | None = None
    encoder: Path | None = None
    dictionaries: dict[str, str] = field(default_factory=dict)
    parallel: dict[str, Path] = field(default_factory=dict)

    def check(self, name: str, identity: dict) -> None:
        """UserError: the attack needs one that is not here."""
        named = identity["stand_ins"]
        for wanted, there, option in (
            ("mlm" in named, self.mlm and self.mlm_base, "--mlm CHECKPOINT --mlm-base MODEL, a masked language model"),
            ("encoder" in named, self.encoder, "--encoder MODEL, a sentence encoder"),
            ("dictionaries" in named, self.dictionaries, "--dictionary en-de=FILE (or en-de=embedded)"),
            (
                candidates.in_parallel(identity),
                self.parallel,
                "--parallel de=FILE, the same examples in German",
            ),
        ):
            if wanted and not there:
                raise UserError(f"--attack {name}: needs {option}; give it, or another attack")
        for folder in filter(None, (self.mlm, self.mlm_base, self.encoder)):
            if not (folder / "model.safetensors").is_file():
                raise UserError(f"{folder}/model.safetensors: no such file: give the folder of a model")
        for path in self.parallel.values():
            files.read_jsonl(path)  # an error names this file, not the copy that is read later

    def described(self) -> dict:
        """What of it can change a result, for the key of a journal."""
        folders = {"mlm": self.mlm, "mlm_base": self.mlm_base, "encoder": self.encoder}
        texts = {**self.dictionaries, **{f"parallel {code}": path for code, path in self.parallel.items()}}
        found = {name: files.sha256(folder / "model.safetensors") for name, folder in folders.items() if folder}
        return found | {key: files.sha256(path) if Path(path).is_file() else path for key, path in texts.items()}


def known(folder: Path, catalog: Catalog) -> str | None:
    """The catalog's name of the model in `folder`, where it was fetched from the catalog."""
    card = folder / "model.json"
    name = files.read_json(card).get("name") if card.is_file() else None
    return name if name in catalog.models else None


def pre_norm(folder: Path, catalog: Catalog) -> bool:
    """Whether the model in `folder` is pre-norm, as the catalog says; False for one that it does not know."""
    name = known(folder, catalog)
    return name is not None and catalog.models[name].identity["pre_norm"]


def stand_ins(identity: dict, given: Given, catalog: Catalog, device, precision: str):
    """The models that the attack asks, as `Attacker` takes them."""
    mlm = (given.mlm_base, given.mlm) if given.mlm and given.mlm_base else None
    before = given.encoder is not None and pre_norm(given.encoder, catalog)
    return StandIns.by_hand(identity, mlm, given.encoder, device, precision, before)


def resources(
    identity: dict, given: Given, catalog: Catalog, task: str, language: str, data: Path, device, precision: str
) -> Callable[[dict, str, list[dict]], dict]:
    """What `Attacker` asks for the resources that are no models: dictionaries, parallel text, its alignment."""

    def found_for(entry: dict, code: str, rows: list[dict]) -> dict:
        from xstilts.data.dictionaries import Dictionaries
        from xstilts.evaluation.embedding import layer_at
        from xstilts.robustness import parallel

        found = {}
        if given.dictionaries:
            found["translate"] = Dictionaries(given.dictionaries).translate
        if given.parallel:
            with tempfile.TemporaryDirectory() as folder:  # in the layout of a study's examples
                for other, path in {**given.parallel, language: data}.items():
                    place = Path(folder, task, other, "test.jsonl")
                    place.parent.mkdir(parents=True)
                    place.symlink_to(Path(path).resolve())
                found["parallel"] = parallel.read(folder, task, [language, *given.parallel])
        if "phrases" in identity["transform"] and given.encoder:
            model = loading.load(given.encoder, None, device, runtime.lean(precision))
            layer = layer_at(identity["stand_ins"]["encoder"]["layer"], model.config["num_hidden_layers"])
            length = identity["stand_ins"]["encoder"]["max_length"]
            found["align"] = parallel.Aligner(model, layer, length, precision, pre_norm(given.encoder, catalog)).align
        return found

    return found_for
