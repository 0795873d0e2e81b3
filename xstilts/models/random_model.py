"""A tiny encoder with seeded random weights and a tokenizer made of code: tests and dry checks need no download."""

from __future__ import annotations

from pathlib import Path

from xstilts.models.tokenizers import characters

DEFAULTS = {
    "model_type": "xlm-roberta",
    "architectures": ["XLMRobertaModel"],
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "initializer_range": 0.02,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "torch_dtype": "float16",
}


def build(source: dict, identity: dict, cache: Path) -> dict:
    """Build the model of a `random` source: {config: overrides of DEFAULTS, seed: int (default 0)}; see `local.build`.

    Normal weights with standard deviation `initializer_range`, zero biases, unit LayerNorm, stored in float16. The
    vocabulary size is the tokenizer's.
    """
    import torch

    from xstilts.models.encoder import Encoder

    tokenizer = characters()
    config = {**DEFAULTS, **source.get("config", {}), "vocab_size": tokenizer.get_vocab_size()}
    generator = torch.Generator().manual_seed(int(source.get("seed", 0)))
    weights = {}
    with torch.device("meta"):  # the shapes alone are needed
        shapes = Encoder(config).state_dict()
    for name, parameter in shapes.items():
        if name.endswith("bias"):
            value = torch.zeros(parameter.shape)
        elif "LayerNorm" in name or "layer_norm" in name:
            value = torch.ones(parameter.shape)
        else:
            value = torch.randn(parameter.shape, generator=generator) * config["initializer_range"]
        weights[name] = value.half()
    return {"weights": weights, "config": config, "tokenizer": tokenizer, "revision": None}
