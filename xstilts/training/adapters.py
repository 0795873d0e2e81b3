"""LoRA: low-rank updates of the matrices of an encoder's blocks (Hu et al. 2021, arXiv 2106.09685), by peft.

A matrix W becomes W + alpha / rank * B A with A of (rank, in) drawn and B of (out, rank) zero at first; A and B are
trained and nothing else but the heads. The authors adapt query and value alone, here every matrix of a block is.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor, nn

from xstilts.errors import UserError
from xstilts.models.checkpoints import plain

LIBRARY = "peft==0.21.2"
ADAPTER = "default"  # peft's name for the only one


def add(model: nn.Module, settings: dict, seed: int) -> None:
    """Freeze the encoder of a `TaskModel` and put an adapter on every matrix of its blocks.

    `settings`: {rank, alpha, dropout} of the job spec. The adapters are float32 whatever the frozen weights are, and
    their first weights are decided by (seed, name): two models of one seed are equal, on every rank.
    """
    library = _library()
    names = matrices(model.encoder)
    model.encoder.requires_grad_(False)
    config = library.LoraConfig(
        r=settings["rank"], lora_alpha=settings["alpha"], lora_dropout=settings["dropout"], target_modules=names
    )
    library.inject_adapter_in_model(config, model.encoder, ADAPTER)
    for name, layer in _layers(model.encoder).items():
        first, second = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]
        digest = hashlib.sha256(f"lora {seed} {name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        for factor in (first, second):
            factor.float()  # peft makes them in the type of the frozen weights
        with torch.no_grad():
            drawn = torch.empty(first.weight.shape)
            nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)  # as peft and the authors' code do
            first.weight.copy_(drawn)
            second.weight.zero_()


def matrices(encoder: nn.Module) -> list[str]:
    """Names of the linear layers of an encoder's blocks: query, key, value and the dense ones, by whatever name."""
    found = [name for name, module in encoder.named_modules() if isinstance(module, nn.Linear)]
    found = [name for name in found if any(part.isdigit() for part in name.split("."))]
    if not found:
        raise UserError("trainable: lora: the encoder has no linear layers in blocks; allowed here: all, blocks")
    return found


def factors(model: nn.Module, tensors: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """What a checkpoint stores: `<weight>.lora_a` (rank, in) and `<weight>.lora_b` (out, rank), with the scale in b.

    `<weight>` is the name that the matrix has in the base model: there W = base + b @ a. `tensors`: whole tensors by
    name in the model, where its own are sharded. Empty for a model without adapters.
    """
    found = {}
    for name, layer in _layers(model.encoder).items():
        path = f"encoder.{name}"
        first, second = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        if tensors is not None:
            first = tensors[f"{path}.lora_A.{ADAPTER}.weight"]
            second = tensors[f"{path}.lora_B.{ADAPTER}.weight"]
        found[f"{plain(name)}.weight.lora_a"] = first.detach().cpu()
        found[f"{plain(name)}.weight.lora_b"] = (second.detach() * layer.scaling[ADAPTER]).cpu()
    return found


def _layers(encoder: nn.Module) -> dict[str, nn.Module]:
    """Name -> module of each adapted matrix (peft's lora.Linear), without importing peft where there are none."""
    return {name: module for name, module in encoder.named_modules() if hasattr(module, "lora_A")}


def _library():
    try:
        import peft

        return peft
    except ImportError as error:
        raise UserError(
            f"training.trainable: lora needs a library that is not here ({error}). Allowed without it: all, blocks. "
            f"Next: `pip install {LIBRARY}`."
        ) from error
