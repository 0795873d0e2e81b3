"""Read a Hugging Face folder that holds one trained head, such as `python -m xstilts export` writes."""

from __future__ import annotations

from pathlib import Path

from xstilts.errors import UserError
from xstilts.files import read_json
from xstilts.models.export import BERT_PAIR, CLASSES, FAMILIES

_UNUSED = ("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids")  # of the encoder in a hub's folder


def head(config: dict) -> tuple[str, str] | None:
    """(kind, architecture) of the head that a config.json names; None for a plain encoder."""
    for name in config.get("architectures") or ():
        for kind, (ending, _) in CLASSES.items():
            if name.endswith(ending):
                return kind, name
    return None


def labels(config: dict, expected: list[str], where: str) -> list[str]:
    """The names of `expected` in the order of the model's outputs, by its `id2label`; case does not count.

    UserError where the model's names are others: the order could only be guessed.
    """
    names = {int(number): label for number, label in (config.get("id2label") or {}).items()}
    found = [names[number] for number in sorted(names)]
    known = {label.lower(): label for label in expected}
    if sorted(label.lower() for label in found) != sorted(known):
        raise UserError(
            f"{where}: id2label: {', '.join(found) or 'none'}: the task's labels are {', '.join(expected)}. Next: name "
            "the model's outputs by these, in their order, or give the --task that it was trained for"
        )
    return [known[label.lower()] for label in found]


def load(folder: Path, task: str, settings: dict, device="cpu"):
    """The model of `folder` as a `models.loading.TaskModel` with its head under the name `task`, in evaluation mode.

    `settings`: the task's {kind, labels, options}, labels in the model's order. Number formats are those of `loading`:
    float32, but word embeddings as they are stored. UserError: another kind of head, tensors that are missing.
    """
    import torch

    from xstilts.models import checkpoints, runtime
    from xstilts.models.encoder import Encoder
    from xstilts.models.loading import TaskModel
    from xstilts.models.parameters import WORD_EMBEDDINGS

    runtime.keep_memory()
    config, where = read_json(folder / "config.json"), f"{folder}/model.safetensors"
    kind, architecture = head(config)
    prefix, start = FAMILIES.get(config.get("model_type"), ("", ""))
    if not start:
        raise UserError(
            f"{folder}/config.json: model_type {config.get('model_type')!r}: a folder with a head is read for "
            f"{', '.join(FAMILIES)}. Next: give a checkpoint of this workflow and its --base"
        )
    if kind != settings["kind"]:
        raise UserError(f"--model {folder}: its head, {architecture}, is of kind {kind}; the task: {settings['kind']}")
    names = BERT_PAIR if kind == "pair" and start == "Bert" else CLASSES[kind][1]
    tensors = checkpoints.read_tensors(folder / "model.safetensors")
    own = {}
    for ours, theirs in names.items():
        for part in ("weight", "bias"):
            if f"{theirs}.{part}" not in tensors:
                raise UserError(f"{where}: has no {theirs}.{part}, which {architecture} has. Export the model again")
            own[f"{ours}.{part}"] = tensors.pop(f"{theirs}.{part}").float()
    encoder = Encoder(config)
    state = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    for name in _UNUSED:
        state.pop(name, None)
    state = {name: value if name in WORD_EMBEDDINGS else value.float() for name, value in state.items()}
    model = TaskModel(encoder, config, folder / "tokenizer.json", None)
    model.add_head(task, kind, len(own["out_proj.bias"]), seed=0, settings=settings)
    for module, values in ((encoder, state), (model.heads[task], own)):
        try:
            module.load_state_dict(values, assign=True)
        except RuntimeError as error:
            raise UserError(f"{where}: does not fit config.json: {str(error).splitlines()[-1].strip()}") from error
    return model.to(torch.device(device)).eval()
