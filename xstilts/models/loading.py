"""Load a base model, with a checkpoint's changes over it, and compute states and logits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xstilts.errors import UserError
from xstilts.files import read_json
from xstilts.models import checkpoints, heads, runtime, trimming
from xstilts.models.encoder import MODEL_TYPES, Encoder
from xstilts.models.parameters import WORD_EMBEDDINGS


class TaskModel(nn.Module):
    """An encoder with one head a task.

    `encoder`; `heads`: task -> module; `head_settings`: task -> {kind, labels, options}; `config`: the base model's
    config.json; `changed`: the encoder's tensors of the checkpoint that was loaded, as they are stored; `trimmed`: the
    word embeddings in training (a `trimming.Trimmed`), None where they are whole or frozen; `tokenizer`:
    tokenizers.Tokenizer (read when first used); `pad_id`.
    """

    def __init__(self, encoder: nn.Module, config: dict, tokenizer_file: Path, changed: Mapping[str, Tensor] | None):
        super().__init__()
        self.encoder, self.config, self.tokenizer_file = encoder, config, tokenizer_file
        self.changed, self.trimmed = dict(changed or {}), None
        self.heads, self.head_settings = nn.ModuleDict(), {}
        self.pad_id = int(config.get("pad_token_id") or 0)

    @cached_property
    def tokenizer(self):
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.tokenizer_file))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    @property
    def device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    @property
    def embeddings(self) -> nn.Module:
        """The encoder's embeddings: of pieces, positions and types."""
        return self.encoder.embeddings

    @property
    def word_embeddings(self) -> Tensor:
        """The (V, H) matrix of the encoder's input pieces; ValueError where it is trimmed."""
        module = trimming.locate(self.encoder)[1]
        if isinstance(module, trimming.Rows):
            raise ValueError("the word embeddings are trimmed: masked text needs all of them")
        return module.dense() if isinstance(module, trimming.Overlay) else module.weight

    def add_head(self, task: str, kind: str, n_labels: int, seed: int, settings: dict | None = None) -> None:
        """Add a new head with weights decided by (seed, task) (mlm: by the word embeddings); `settings` is what a
        checkpoint records of it."""
        if kind == "mlm":
            if isinstance(trimming.locate(self.encoder)[1], trimming.Overlay):
                trimming.densify(self, trained=False)  # every step reads all of them
            head = heads.build(kind, self.config["hidden_size"], len(self.word_embeddings))
            head.start(self.word_embeddings)
        else:
            head = heads.build(kind, self.config["hidden_size"], n_labels, self.config.get("hidden_dropout_prob", 0.1))
            heads.initialise(head, seed, task)
        self.heads[task] = head.to(self.device).train(self.training)
        self.head_settings[task] = settings or {"kind": kind}

    def hidden_states(
        self, input_ids: Tensor, attention_mask: Tensor, blocks: int | None = None, only: Tensor | str | None = None
    ) -> list[Tensor]:
        """(B, T) ids and 0/1 mask -> list of (B, T, H) float tensors: index 0 the embeddings, i block i.

        With `blocks` the ones after it are not computed, where the encoder is our own. For a pre-norm model the last
        entry is after the final LayerNorm, the ones before it are not normalised. `only`: the positions whose last
        state is wanted, "first" -> (B, 1, H), or (M,) indices into the B * T positions -> (M, H).
        """
        if isinstance(self.encoder, Encoder):
            return self.encoder(input_ids, attention_mask, blocks, only)
        output = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        last = output.last_hidden_state
        if only is not None:
            last = last[:, :1] if isinstance(only, str) else last.flatten(0, 1)[only]
        return [*output.hidden_states[:-1], last]

    def logits(self, task: str, batch: dict) -> Tensor:
        """Logits of `task` for a collated batch: pair (B, L), tagging (B, T, L), span_qa (B, T, 2), choice (B,), mlm
        (M, V) at the M positions that `masked` lists (never (B, T, V): 250,037 pieces wide)."""
        if task not in self.heads:
            raise UserError(f"the checkpoint has no head for {task!r}; it has: {', '.join(self.heads) or 'none'}")
        head = self.heads[task]
        only = batch.get("masked", "first" if isinstance(head, heads.PooledHead) else None)
        mask = None if batch.get("full") else batch["attention_mask"]
        hidden = self.hidden_states(batch["input_ids"], mask, only=only)[-1]
        return head(hidden, self.word_embeddings) if "masked" in batch else head(hidden)

    forward = logits


class _Unallocated(TorchFunctionMode):
    """Modules made inside have no memory for their parameters, nor initial values: both come with a checkpoint.

    Parameters are made by torch.empty, and so of the device meta; buffers (positions, rotary frequencies) are computed
    as ever, which torch.device("meta") would not do.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


def load(
    model_dir: str | Path,
    checkpoint_dir: str | Path | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    as_stored: bool = False,
    with_heads: bool = True,
) -> TaskModel:
    """The model of `model_dir` with the tensors and heads of `checkpoint_dir` over it, in evaluation mode.

    Weights are float32 (those stored so stay memory-mapped until they are changed), but word embeddings keep the number
    format that they are stored in: rows are cast after the look-up. `dtype`: that of the matrices of linear layers
    instead; torch.bfloat16 halves the memory at equal results where autocast is to that anyway. `as_stored`: these
    matrices keep the format of the file, for who casts them later, a block at a time. `with_heads`: False leaves the
    checkpoint's heads out. Missing, unknown or damaged tensors and a checkpoint of another parent are `UserError`s.
    """
    runtime.keep_memory()
    model_dir, device = Path(model_dir), torch.device(device)
    config = read_json(model_dir / "config.json")
    state = checkpoints.read_tensors(model_dir / "model.safetensors")
    settings, changed, head_state, touched, factors = {}, {}, {}, {}, {}
    if checkpoint_dir is not None:
        checkpoint, changed, head_state = checkpoints.read(Path(checkpoint_dir), model_dir)
        where = f"{checkpoint_dir}/model.safetensors"
        whole, touched, factors = checkpoints.parts(changed, state, where)
        state.update(whole)
        settings = checkpoint["heads"] if with_heads else {}
        head_state = head_state if with_heads else {}
    encoder = _build(config)
    _fill(encoder, state, factors, device, dtype, as_stored, f"{model_dir}/model.safetensors")
    for name, found in touched.items():
        if name != (words := f"{trimming.locate(encoder)[0]}.weight"):
            raise UserError(f"{where}: {name}.rows: only rows of {words} can be stored: another model's checkpoint")
        trimming.overlay(encoder, trimming.Touched(*found))
    model = TaskModel(encoder, config, model_dir / "tokenizer.json", changed)
    for task, head in settings.items():
        model.add_head(task, head["kind"], len(head.get("labels") or ()), seed=0, settings=head)
    _load_strictly(model.heads, head_state, f"{checkpoint_dir}/model.safetensors")
    return model.to(device).eval()


def _build(config: dict) -> nn.Module:
    """The encoder of a config.json, its parameters without memory."""
    with _Unallocated():
        if config["model_type"] in MODEL_TYPES:
            return Encoder(config)
        from xstilts.models import transformers_encoder

        return transformers_encoder.build(config)


def _fill(encoder: nn.Module, state: dict, factors: dict, device, dtype, as_stored: bool, where: str) -> None:
    """Give the encoder its tensors, each in its number format and on its device: one at a time is ever held twice."""
    lean = WORD_EMBEDDINGS if isinstance(encoder, Encoder) else ()
    linear = {f"{name}.weight" for name, module in encoder.named_modules() if isinstance(module, nn.Linear)}
    for name, tensor in state.items():
        if name in factors:  # on the CPU whatever the device, so that all devices have equal weights
            down, up = factors[name]
            tensor = torch.addmm(tensor.float(), up.float(), down.float())
        if name in linear and (as_stored or dtype is not None):
            state[name] = tensor.to(dtype or tensor.dtype).to(device)
        else:
            state[name] = tensor.to(device) if name in lean else tensor.to(device).float()
    _load_strictly(encoder, state, where)


def _load_strictly(module: nn.Module, state: dict, where: str) -> None:
    try:
        missing, unexpected = module.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise UserError(f"{where}: does not fit config.json: {str(error).splitlines()[-1].strip()}") from error
    if missing or unexpected:
        raise UserError(
            f"{where}: does not fit config.json: {len(missing)} tensors missing {missing[:3]}, "
            f"{len(unexpected)} not known {unexpected[:3]}. Fetch the model again, or correct its config.json."
        )
