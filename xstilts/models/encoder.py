"""BERT, XLM-R and XLM-R XL encoders in plain torch, with Hugging Face's parameter names.

Written out because importing transformers costs each job about 3.5 s where torch alone takes about 1 s, and to leave
out what is not needed; equality with `BertModel`, `XLMRobertaModel` and `XLMRobertaXLModel` is a test. References:
Devlin et al. 2019 (1810.04805), Conneau et al. 2020 (1911.02116), Goyal et al. 2021 (2105.00572, the pre-norm sizes XL
and XXL), Hugging Face modeling_bert.py, modeling_xlm_roberta.py and modeling_xlm_roberta_xl.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xstilts.errors import UserError
from xstilts.models import kernels
from xstilts.models.attention import attend, bias_of

PRE_NORM = "xlm-roberta-xl"
MODEL_TYPES = ("bert", "roberta", "xlm-roberta", PRE_NORM)
ACTIVATIONS = {"gelu": F.gelu, "gelu_new": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu}
FIRST = "first"


class Linear(nn.Linear):
    """nn.Linear whose weights are left uninitialised: a checkpoint is always loaded over them."""

    def reset_parameters(self) -> None:
        pass

    def forward(self, states: Tensor) -> Tensor:
        return kernels.linear(states, self.weight, self.bias)


class Embedding(nn.Embedding):
    """nn.Embedding left uninitialised; its rows are cast to float32 after the look-up.

    So a frozen 250,002-row matrix may stay in the checkpoint's float16 (and in its memory map) at equal results:
    casting all of it costs 1.2 s and 384 MB a process.
    """

    def reset_parameters(self) -> None:
        pass

    def forward(self, indices: Tensor) -> Tensor:
        return super().forward(indices).float()


class Dropout(nn.Dropout):
    """nn.Dropout by the faster mask of `kernels`."""

    @property
    def probability(self) -> float:
        """What is dropped now: nothing in evaluation."""
        return self.p if self.training else 0.0

    def forward(self, states: Tensor) -> Tensor:
        return kernels.dropout(states, self.probability)


class Embeddings(nn.Module):
    """Word + position + token-type embeddings, LayerNorm (but in a pre-norm encoder), dropout."""

    def __init__(self, config: dict):
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = Embedding(config["vocab_size"], width)
        self.position_embeddings = Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = Embedding(config.get("type_vocab_size", 2), width)
        if config["model_type"] == PRE_NORM:
            self.LayerNorm = None
        else:
            self.LayerNorm = nn.LayerNorm(width, eps=config.get("layer_norm_eps", 1e-12))
        self.dropout = Dropout(config.get("hidden_dropout_prob", 0.1))
        # XLM-R (from fairseq) counts the positions of real tokens from padding_idx + 1; BERT counts all from 0.
        self.padding_id = None if config["model_type"] == "bert" else config["pad_token_id"]
        self.longest = config["max_position_embeddings"] - (0 if self.padding_id is None else self.padding_id + 1)

    def forward(self, input_ids: Tensor) -> Tensor:
        length = input_ids.shape[1]
        if length > self.longest:
            raise UserError(
                f"an input has {length} tokens, the model takes {self.longest}: lower `max_length` in the preset"
            )
        if self.padding_id is None:
            positions = torch.arange(length, device=input_ids.device)[None]
        else:
            real = (input_ids != self.padding_id).long()
            positions = real.cumsum(dim=1) * real + self.padding_id
        # every token is of type 0
        summed = self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0].float()
        summed = summed + self.position_embeddings(positions)
        return self.dropout(summed if self.LayerNorm is None else self.LayerNorm(summed))


class Block(nn.Module):
    """Self-attention and feed-forward, each with a residual sum.

    Post-norm (BERT, XLM-R): LayerNorm after each sum, dropout before. Pre-norm (XLM-R XL): LayerNorm before attention
    and feed-forward; no dropout after the feed-forward, as in Hugging Face's module.
    """

    def __init__(self, config: dict):
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        eps = config.get("layer_norm_eps", 1e-12)
        self.heads, self.pre_norm = config["num_attention_heads"], config["model_type"] == PRE_NORM
        own = nn.ModuleDict({name: Linear(width, width) for name in ("query", "key", "value")})
        out = nn.ModuleDict({"dense": Linear(width, width)})
        self.attention = nn.ModuleDict({"self": own, "output": out})
        self.intermediate = nn.ModuleDict({"dense": Linear(width, inner)})
        self.output = nn.ModuleDict({"dense": Linear(inner, width)})
        if self.pre_norm:
            self.attention["self_attn_layer_norm"] = nn.LayerNorm(width, eps=eps)
            self.LayerNorm = nn.LayerNorm(width, eps=eps)
        else:
            out["LayerNorm"] = nn.LayerNorm(width, eps=eps)
            self.output["LayerNorm"] = nn.LayerNorm(width, eps=eps)
        self.dropout = Dropout(config.get("hidden_dropout_prob", 0.1))
        self.attention_dropout = Dropout(config.get("attention_probs_dropout_prob", 0.1))
        self.activation = ACTIVATIONS[config.get("hidden_act", "gelu")]

    def forward(self, hidden: Tensor, bias: Tensor | None, only: Tensor | str | None = None) -> Tensor:
        """(B, T, H) and the attention's bias -> (B, T, H), or of the positions in `only` (see `Encoder`)."""
        attention, output = self.attention["output"], self.output
        if self.pre_norm:
            mixed = self._mixed(self.attention["self_attn_layer_norm"](hidden), bias, only)
            hidden = self._add(_chosen(hidden, only), attention["dense"](mixed))
            inner = self.activation(self.intermediate["dense"](self.LayerNorm(hidden)))
            return hidden + output["dense"](inner)
        mixed = self._mixed(hidden, bias, only)
        hidden = attention["LayerNorm"](self._add(_chosen(hidden, only), attention["dense"](mixed)))
        inner = self.activation(self.intermediate["dense"](hidden))
        return output["LayerNorm"](self._add(hidden, output["dense"](inner)))

    def _add(self, residual: Tensor, states: Tensor) -> Tensor:
        return kernels.add_dropped(residual, states, self.dropout.probability)

    def _mixed(self, hidden: Tensor, bias: Tensor | None, only: Tensor | str | None) -> Tensor:
        """Each position's mixture of values; keys and values are of all positions whatever `only` chooses."""
        own, queries = self.attention["self"], hidden[:, :1] if isinstance(only, str) else hidden
        query, key, value = (
            own[name](states).view(*states.shape[:2], self.heads, -1).transpose(1, 2)
            for name, states in (("query", queries), ("key", hidden), ("value", hidden))
        )
        mixed = attend(query, key, value, bias, self.attention_dropout.probability)
        mixed = mixed.transpose(1, 2).reshape(queries.shape)
        return _chosen(mixed, only) if isinstance(only, Tensor) else mixed


def _chosen(states: Tensor, only: Tensor | str | None) -> Tensor:
    """The positions of (B, T, H) that `only` names."""
    if only is None:
        return states
    return states[:, :1] if isinstance(only, str) else states.flatten(0, 1)[only]


class Encoder(nn.Module):
    """The encoder of a Hugging Face `config` (a dict with a model_type of MODEL_TYPES).

    `checkpointing`: in training keep each block's input alone and compute the block again in the backward pass.
    """

    def __init__(self, config: dict):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict(
            {"layer": nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"]))}
        )
        if config["model_type"] == PRE_NORM:
            eps = config.get("layer_norm_eps", 1e-12)
            self.encoder["LayerNorm"] = nn.LayerNorm(config["hidden_size"], eps=eps)
        self.checkpointing = False

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        blocks: int | None = None,
        only: Tensor | str | None = None,
    ) -> list[Tensor]:
        """(B, T) ids and 0/1 mask -> list of (B, T, H): the embeddings' output, then that of each of `blocks` (all).

        A pre-norm encoder's last state is after the final LayerNorm, unless `blocks` stops before; the others are not
        normalised. `attention_mask` None: nothing is padding.

        `only`: the positions whose last state is needed; the last block computes no others (it is 1 of 6 blocks, or of
        3). "first" gives (B, 1, H), a tensor (M,) of indices into the B * T positions gives (M, H).
        """
        layers = self.encoder["layer"]
        autocast = torch.is_autocast_enabled(input_ids.device.type)
        dtype = torch.get_autocast_dtype(input_ids.device.type) if autocast else torch.float32
        bias = bias_of(attention_mask, dtype)
        states = [self.embeddings(input_ids)]
        for block in layers[:blocks]:
            chosen = only if block is layers[-1] else None
            if self.checkpointing and torch.is_grad_enabled():
                from torch.utils.checkpoint import checkpoint

                states.append(checkpoint(block, states[-1], bias, chosen, use_reentrant=False))
            else:
                states.append(block(states[-1], bias, chosen))
        if "LayerNorm" in self.encoder and len(states) == len(layers) + 1:
            states[-1] = self.encoder["LayerNorm"](states[-1])
        return states


def blocks(encoder: nn.Module) -> nn.ModuleList:
    """The blocks of an `Encoder` or of an encoder of transformers: what is checkpointed, compiled or sharded as one."""
    if isinstance(encoder, Encoder):
        return encoder.encoder["layer"]
    depth = encoder.config.num_hidden_layers
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList) and len(module) == depth]
    if not lists:
        raise UserError(f"model_type {encoder.config.model_type}: no list of its {depth} blocks was found in it")
    return lists[0]  # modules() goes from the outside in


def set_checkpointing(encoder: nn.Module, on: bool) -> None:
    """Keep each block's input alone in training and compute its inside again for the gradients; at first it is off."""
    if isinstance(encoder, Encoder):
        encoder.checkpointing = on
    elif on:
        encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def compile_blocks(encoder: nn.Module, device: torch.device) -> bool:
    """Compile each block in place for a GPU (torch.compile, all lengths at once); True where that was done.

    On a CPU nothing is done: no gain was measured there, the first two steps took minutes, and it needs a C++ compiler.
    """
    if device.type != "cuda":
        return False
    for block in blocks(encoder):
        block.compile(dynamic=True)
    return True


def keep_frozen_in(encoder: nn.Module, dtype: torch.dtype) -> None:
    """Store the frozen float32 weights of linear layers in `dtype`.

    Only for training under autocast to the same dtype, which converts these weights in every step: the results are
    equal to the bit. Embeddings and LayerNorm, which are computed in float32, stay.
    """
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            for parameter in module.parameters(recurse=False):
                if not parameter.requires_grad and parameter.dtype == torch.float32:
                    parameter.data = parameter.data.to(dtype)
