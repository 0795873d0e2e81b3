"""A post-norm BERT / XLM-R encoder in plain torch, with Hugging Face's parameter names.

Written out because importing transformers costs each job about 3.5 s where torch alone takes about 1 s; equality with
`XLMRobertaModel` and `BertModel` is a test. References: Devlin et al. 2019 (1810.04805), Conneau et al. 2020
(1911.02116), Hugging Face modeling_bert.py and modeling_xlm_roberta.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xstilts.errors import UserError
from xstilts.models.attention import attend

MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
ACTIVATIONS = {"gelu": F.gelu, "gelu_new": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu}


class Linear(nn.Linear):
    """nn.Linear whose weights are left uninitialised: a checkpoint is always loaded over them."""

    def reset_parameters(self) -> None:
        pass


class Embedding(nn.Embedding):
    """nn.Embedding left uninitialised; its rows are cast to float32 after the look-up.

    So a frozen 250,002-row matrix may stay in the checkpoint's float16 (and in its memory map) at equal results:
    casting all of it costs 1.2 s and 384 MB a process.
    """

    def reset_parameters(self) -> None:
        pass

    def forward(self, indices: Tensor) -> Tensor:
        return super().forward(indices).float()


class Embeddings(nn.Module):
    """Word + position + token-type embeddings, LayerNorm, dropout."""

    def __init__(self, config: dict):
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = Embedding(config["vocab_size"], width)
        self.position_embeddings = Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = Embedding(config.get("type_vocab_size", 2), width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.get("layer_norm_eps", 1e-12))
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.1))
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
            positions = torch.arange(length, device=input_ids.device).expand_as(input_ids)
        else:
            real = (input_ids != self.padding_id).long()
            positions = real.cumsum(dim=1) * real + self.padding_id
        types = torch.zeros_like(input_ids)
        summed = self.word_embeddings(input_ids) + self.token_type_embeddings(types)
        return self.dropout(self.LayerNorm(summed + self.position_embeddings(positions)))


class Block(nn.Module):
    """Self-attention and feed-forward, each followed by dropout, the residual sum and LayerNorm."""

    def __init__(self, config: dict):
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        eps, dropout = config.get("layer_norm_eps", 1e-12), config.get("hidden_dropout_prob", 0.1)
        self.heads = config["num_attention_heads"]
        own = nn.ModuleDict({name: Linear(width, width) for name in ("query", "key", "value")})
        out = nn.ModuleDict({"dense": Linear(width, width), "LayerNorm": nn.LayerNorm(width, eps=eps)})
        self.attention = nn.ModuleDict({"self": own, "output": out})
        self.intermediate = nn.ModuleDict({"dense": Linear(width, inner)})
        self.output = nn.ModuleDict({"dense": Linear(inner, width), "LayerNorm": nn.LayerNorm(width, eps=eps)})
        self.dropout = nn.Dropout(dropout)
        self.attention_dropout = nn.Dropout(config.get("attention_probs_dropout_prob", 0.1))
        self.activation = ACTIVATIONS[config.get("hidden_act", "gelu")]

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        size, length, width = hidden.shape
        query, key, value = (
            self.attention["self"][name](hidden).view(size, length, self.heads, -1).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        dropout = self.attention_dropout.p if self.training else 0.0
        mixed = attend(query, key, value, mask, dropout)
        mixed = mixed.transpose(1, 2).reshape(size, length, width)
        attention, output = self.attention["output"], self.output
        hidden = attention["LayerNorm"](hidden + self.dropout(attention["dense"](mixed)))
        inner = self.activation(self.intermediate["dense"](hidden))
        return output["LayerNorm"](hidden + self.dropout(output["dense"](inner)))


class Encoder(nn.Module):
    """The encoder of a Hugging Face `config` (a dict with model_type bert, roberta or xlm-roberta)."""

    def __init__(self, config: dict):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict(
            {"layer": nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"]))}
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor, blocks: int | None = None) -> list[Tensor]:
        """(B, T) ids and 0/1 mask -> list of (B, T, H): the embeddings' output, then that of each of `blocks` (all)."""
        mask = attention_mask.bool()[:, None, None, :]
        states = [self.embeddings(input_ids)]
        for block in self.encoder["layer"][:blocks]:
            states.append(block(states[-1], mask))
        return states
