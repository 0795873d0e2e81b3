"""Parameter counts from tensor shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping

WORD_EMBEDDINGS = ("embeddings.word_embeddings.weight", "embeddings.tok_embeddings.weight")


def count(weights: Mapping) -> dict[str, int]:
    """{"parameters", "non_embedding_parameters"} of an encoder's tensors (name -> anything with a shape).

    Non-embedding = all but the word embeddings, for at base size 69 % of the weights are vocabulary.
    """
    sizes = {name: math.prod(tensor.shape) for name, tensor in weights.items()}
    total = sum(sizes.values())
    return {
        "parameters": total,
        "non_embedding_parameters": total - sum(sizes.get(name, 0) for name in WORD_EMBEDDINGS),
    }
