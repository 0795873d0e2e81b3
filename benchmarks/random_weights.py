"""Models of a published shape with random weights: what speed and memory depend on, without a download."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks.store import write
from xstilts.models.random_model import DEFAULTS

_XLM_R = {key: value for key, value in DEFAULTS.items() if key != "torch_dtype"} | {"vocab_size": 250_002}
_XL = {**_XLM_R, "model_type": "xlm-roberta-xl", "architectures": ["XLMRobertaXLModel"], "vocab_size": 250_880}


def _shape(base: dict, layers: int, width: int, heads: int) -> dict:
    sizes = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": 4 * width}
    return {**base, **sizes, "num_attention_heads": heads}


# layers x width, heads: the published configurations
BASE = _shape(_XLM_R, 12, 768, 12)
LARGE = _shape(_XLM_R, 24, 1024, 16)
XL = _shape(_XL, 36, 2560, 32)
XXL = _shape(_XL, 48, 4096, 32)


def build(config: dict, out: Path, tokenizer: Path | None = None, dtype: str = "float32", device: str = "cpu") -> Path:
    """Write a folder that scripts/train.py and transformers both read; one that is there is kept. Returns `out`.

    `tokenizer`: a tokenizer.json to copy (None: one token a character); the vocabulary is never smaller than its.
    Normal weights with standard deviation `initializer_range`, zero biases, unit norms.
    """
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer
    from transformers import AutoConfig, AutoModel

    from xstilts.models.tokenizers import characters

    pieces = Tokenizer.from_file(str(tokenizer)) if tokenizer else characters()
    config = {**config, "vocab_size": max(config["vocab_size"], pieces.get_vocab_size()), "dtype": dtype}
    if (out / "config.json").is_file():  # written last
        if json.loads((out / "config.json").read_text(encoding="utf-8")) == config:
            return out
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    described = AutoConfig.for_model(**config)
    with torch.device("meta"):
        names = AutoModel.from_config(described, add_pooling_layer=False).state_dict()
    generator, tensors = torch.Generator(device).manual_seed(0), {}
    for name, tensor in names.items():
        if name.endswith("position_ids") or name.endswith("token_type_ids"):
            continue
        norm = "norm" in name.lower()
        value = torch.full(tensor.shape, float(norm and not name.endswith("bias")), device=device)
        if not norm and not name.endswith("bias"):
            value.normal_(std=config["initializer_range"], generator=generator)
        tensors[name] = value.to(getattr(torch, dtype)).cpu()
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    if tokenizer:
        shutil.copyfile(tokenizer, out / "tokenizer.json")
    else:
        (out / "tokenizer.json").write_text(pieces.to_str(pretty=False) + "\n", encoding="utf-8")
    write(out / "config.json", config)
    return out
