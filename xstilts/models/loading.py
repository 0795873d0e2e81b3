"""Load a base model, with a checkpoint's changes over it, and compute states and logits."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from xstilts.errors import UserError
from xstilts.files import read_json
from xstilts.models import checkpoints, heads, runtime
from xstilts.models.encoder import MODEL_TYPES, Encoder
from xstilts.models.parameters import WORD_EMBEDDINGS


class TaskModel(nn.Module):
    """An encoder with one head a task.

    `encoder`; `heads`: task -> module; `head_settings`: task -> {kind, labels, options}; `config`: the base model's
    config.json; `changed`: names of the encoder's tensors that did not come from the base model; `tokenizer`:
    tokenizers.Tokenizer (read when first used); `pad_id`.
    """

    def __init__(self, encoder: nn.Module, config: dict, tokenizer_file: Path, changed: Iterable[str] = ()):
        super().__init__()
        self.encoder, self.config, self.tokenizer_file = encoder, config, tokenizer_file
        self.changed = frozenset(changed)
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
    def word_embeddings(self) -> Tensor:
        """The (V, H) matrix of the encoder's input pieces."""
        if isinstance(self.encoder, Encoder):
            return self.encoder.embeddings.word_embeddings.weight
        return self.encoder.get_input_embeddings().weight

    def add_head(self, task: str, kind: str, n_labels: int, seed: int, settings: dict | None = None) -> None:
        """Add a new head with weights decided by (seed, task) (mlm: by the word embeddings); `settings` is what a
        checkpoint records of it."""
        if kind == "mlm":
            head = heads.build(kind, self.config["hidden_size"], len(self.word_embeddings))
            head.start(self.word_embeddings)
        else:
            head = heads.build(kind, self.config["hidden_size"], n_labels, self.config.get("hidden_dropout_prob", 0.1))
            heads.initialise(head, seed, task)
        self.heads[task] = head.to(self.device).train(self.training)
        self.head_settings[task] = settings or {"kind": kind}

    def hidden_states(self, input_ids: Tensor, attention_mask: Tensor, blocks: int | None = None) -> list[Tensor]:
        """(B, T) ids and 0/1 mask -> list of (B, T, H) float tensors: index 0 the embeddings, i block i.

        With `blocks` the ones after it are not computed, where the encoder is our own. For a pre-norm model the last
        entry is after the final LayerNorm, the ones before it are not normalised.
        """
        if isinstance(self.encoder, Encoder):
            return self.encoder(input_ids, attention_mask, blocks)
        output = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        return [*output.hidden_states[:-1], output.last_hidden_state]

    def logits(self, task: str, batch: dict) -> Tensor:
        """Logits of `task` for a collated batch: pair (B, L), tagging (B, T, L), span_qa (B, T, 2), choice (B,), mlm
        (M, V) at the M positions that `masked` lists (never (B, T, V): 250,037 pieces wide)."""
        if task not in self.heads:
            raise UserError(f"the checkpoint has no head for {task!r}; it has: {', '.join(self.heads) or 'none'}")
        hidden = self.hidden_states(batch["input_ids"], batch["attention_mask"])[-1]
        if "masked" in batch:
            return self.heads[task](hidden.flatten(0, 1)[batch["masked"]], self.word_embeddings)
        return self.heads[task](hidden)


def load(model_dir: str | Path, checkpoint_dir: str | Path | None = None, device="cpu") -> TaskModel:
    """The model of `model_dir` with the tensors and heads of `checkpoint_dir` over it, in evaluation mode.

    Weights are float32, but word embeddings stored in float16 stay so (rows are cast after the look-up). Missing or
    unknown tensors and a checkpoint of another parent are `UserError`s.
    """
    runtime.keep_memory()
    model_dir = Path(model_dir)
    config = read_json(model_dir / "config.json")
    state = checkpoints.read_tensors(model_dir / "model.safetensors")
    settings, changed, head_state = {}, {}, {}
    if checkpoint_dir is not None:
        checkpoint, changed, head_state = checkpoints.read(Path(checkpoint_dir), model_dir)
        state.update(changed)
        settings = checkpoint["heads"]
    model = TaskModel(_encoder(config, state, model_dir), config, model_dir / "tokenizer.json", changed)
    for task, head in settings.items():
        model.add_head(task, head["kind"], len(head.get("labels") or ()), seed=0, settings=head)
    _load_strictly(model.heads, head_state, f"{checkpoint_dir}/model.safetensors")
    return model.to(device).eval()


def _encoder(config: dict, state: dict, model_dir: Path) -> nn.Module:
    if config["model_type"] in MODEL_TYPES:
        encoder, lean = Encoder(config), WORD_EMBEDDINGS
    else:
        from xstilts.models import transformers_encoder

        encoder, lean = transformers_encoder.build(config), ()
    state = {name: tensor if name in lean else tensor.float() for name, tensor in state.items()}
    _load_strictly(encoder, state, f"{model_dir}/model.safetensors")
    return encoder


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
