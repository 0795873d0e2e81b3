"""The models that an attack asks beside its victim: a masked language model, a similarity encoder.

Which ones an attack has is part of its catalog identity (`stand_ins`). They are loaded when first needed and once for
all targets and languages of a job; `StandIns.resources` makes what `xstilts.attacks` asks of them for one file.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from xstilts.attacks.proposals import Resources
from xstilts.errors import UserError
from xstilts.files import read_json

DEFAULTS = {"layer": "last", "pooling": "mean", "max_length": 128}  # of an encoder, as in the schema of attacks
LEAST = 0.0  # cosine of a neighbour where the attack's options name none


class StandIns:
    """Stand-ins of one attack.

    `wanted`: the spec's `stand_ins`: {mlm: {model: {name, ...}, intermediate, seed}, encoder: {model: {name, layers,
    pre_norm, ...}, layer, pooling, max_length}}, either may be absent; `models`, `encoders`: folders with
    `<model>` and `<model>/<intermediate>/s<seed>`; `precision`: "fp32" or "bf16". Nothing is read before it is needed.
    """

    def __init__(self, wanted: dict, models: Path, encoders: Path, device="cpu", precision: str = "fp32"):
        self._mlm, self._encoder = wanted.get("mlm"), wanted.get("encoder")
        self._device, self._precision = device, precision
        if self._mlm:
            base = Path(models) / self._mlm["model"]["name"]
            at = f"{self._mlm.get('intermediate', 'mlm')}/s{self._mlm.get('seed', 1)}"
            self._mlm_folders = base, Path(encoders) / self._mlm["model"]["name"] / at
        if self._encoder:
            self._encoder_folder = Path(models) / self._encoder["model"]["name"]
        self._next = "Next: run the study (python -m xstilts run STUDY), which makes it before the attack"

    @classmethod
    def by_hand(
        cls,
        identity: dict,
        mlm: tuple[Path, Path] | None = None,
        encoder: Path | None = None,
        device="cpu",
        precision: str = "fp32",
        pre_norm: bool = False,
    ) -> StandIns:
        """Of an attack's catalog identity, from folders: `mlm` = (model, checkpoint with a head of kind mlm), `encoder`
        = a model, which is `pre_norm` or not. UserError: the attack needs one that was not given."""
        named = identity.get("stand_ins") or {}
        for name, given in (("mlm", mlm), ("encoder", encoder)):
            if named.get(name) and given is None:
                raise UserError(
                    f"stand_ins.{name}: the attack needs {_what(name)}, the catalog's is {named[name]['model']}, and "
                    f"none was given. Next: name its folder{' and its base model' if name == 'mlm' else ''}"
                )
        made = cls({}, Path(), Path(), device, precision)
        if named.get("mlm"):
            made._mlm, made._mlm_folders = named["mlm"], (Path(mlm[0]), Path(mlm[1]))
        if named.get("encoder"):
            record = {"name": named["encoder"]["model"], "pre_norm": pre_norm}
            made._encoder, made._encoder_folder = {**named["encoder"], "model": record}, Path(encoder)
        made._next = "Next: name a folder that has it"
        return made

    def resources(
        self, identity: dict, rows: Sequence[dict], fields: Sequence[str], language: dict, victim=None, **given
    ) -> Resources:
        """What the attack `identity` may ask about one file.

        `rows`: all examples of the file under attack (not the sample alone), whose `fields` are in `language`, a row of
        catalog/languages.yaml with its `code`; `victim`: a `predict.Predictor`, for attacks that use gradients;
        `given`: other fields of `Resources` (align, translate, parallel, passages), handed on as they are.
        UserError: a stand-in is missing, or the victim gives no gradients.
        """
        named, transforms = identity.get("stand_ins") or {}, identity["transform"]
        spaces = language["spaces"]
        made = dict(given)
        if named.get("mlm"):
            fills = self.fills
            made["fills"] = lambda texts, k, scripts=None: fills(texts, k, scripts, spaces)
        aligns = "phrases" in transforms and not (identity.get("constraints") or {}).get("similarity")
        if named.get("encoder") and not aligns:  # else it is read for `align` alone
            made["similarity"] = self.similar.similarity
        if {"neighbours", "gradient"} & set(transforms):
            from xstilts.robustness.similar import vocabulary

            made["vocabulary"] = vocabulary(rows, fields, language)
        if "neighbours" in transforms:
            if not named.get("encoder"):
                raise UserError("transform: neighbours needs stand_ins.encoder, and the attack names none")
            least = (identity.get("options") or {}).get("least", LEAST)
            made["neighbours"] = self.similar.neighbours(made["vocabulary"], least, language["code"])
        if "gradient" in transforms:
            from xstilts.robustness.flips import KINDS, Flips

            if victim is None:
                raise UserError(
                    f"transform: gradient needs a victim with a trained head; allowed kinds: {', '.join(KINDS)}"
                )
            made["gradients"] = Flips(victim, made["vocabulary"], spaces, language["code"])
        return Resources(**made)

    @cached_property
    def fills(self):
        """The masked language model as `masked.Fills`."""
        from xstilts.models import loading, runtime
        from xstilts.robustness.masked import Fills

        if not self._mlm:
            raise UserError("stand_ins.mlm: the attack needs a masked language model, and the job's spec names none")
        base, checkpoint = self._mlm_folders
        self._check("mlm", base)
        self._check("mlm", checkpoint)
        heads = read_json(checkpoint / "config.json").get("heads") or {}
        tasks = [task for task, settings in heads.items() if settings["kind"] == "mlm"]
        if not tasks:
            raise UserError(
                f"{checkpoint}/config.json: heads: {', '.join(heads) or 'none'}; stand_ins.mlm needs a checkpoint with "
                "a head of kind mlm: one whose intermediate tasks have `mlm` among them. Delete the folder if it was "
                f"trained before heads of mlm were kept. {self._next}"
            )
        model = loading.load(base, checkpoint, self._device, runtime.lean(self._precision))
        return Fills(model, tasks[0], self._precision)

    @cached_property
    def similar(self):
        """The similarity encoder as `similar.Similar`."""
        from xstilts.evaluation.embedding import Embedder, layer_at
        from xstilts.models import loading, runtime
        from xstilts.robustness.similar import Similar

        if not self._encoder:
            raise UserError("stand_ins.encoder: the attack needs a sentence encoder, and the job's spec names none")
        self._check("encoder", self._encoder_folder)
        settings = DEFAULTS | {key: value for key, value in self._encoder.items() if key in DEFAULTS}
        model = loading.load(self._encoder_folder, None, self._device, runtime.lean(self._precision))
        blocks, length = model.config["num_hidden_layers"], settings["max_length"]
        pre_norm = self._encoder["model"].get("pre_norm", False)
        embedder = Embedder(model, settings["pooling"], length, self._precision, pre_norm, stable=True)
        return Similar(embedder, layer_at(settings["layer"], blocks), length)

    def _check(self, name: str, folder: Path) -> None:
        """UserError where `folder` holds no model."""
        for file in ("config.json", "model.safetensors"):
            if not (folder / file).is_file():
                raise UserError(f"{folder / file}: no such file: stand_ins.{name} is {_what(name)}. {self._next}")


def _what(name: str) -> str:
    return "a masked language model" if name == "mlm" else "a sentence encoder"
