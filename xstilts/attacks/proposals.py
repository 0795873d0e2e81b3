"""What could be changed in an example, and into what: the interface between candidates, search and engine.

A `Proposer` gets all examples that are about to be attacked at once, so that one which asks a model can do it in
batches. What it proposes for an example depends on that example, the seed and the stand-ins alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from xstilts.attacks.units import Unit


def generator(*parts: object) -> Random:
    """A random generator that depends on `parts` alone (SHA-256 of their texts, so equal on every platform)."""
    digest = hashlib.sha256("\t".join(map(str, parts)).encode("utf-8", "backslashreplace")).digest()
    return Random(int.from_bytes(digest, "big"))


@dataclass(frozen=True)
class Draft:
    """One example that is about to be attacked.

    `fields`: those that may change. `units`: their words (tagging: tokens), in order. `ranges`: number of a unit that
    the constraints let change -> (first, last), the half-open range of its clusters that may be touched. `language`: a
    row of catalog/languages.yaml with its `code`, `alphabet` (list of clusters) and `keyboard` (key -> neighbours).
    """

    example: dict
    kind: str
    fields: list[str]
    units: list[Unit]
    ranges: dict[int, tuple[int, int]]
    language: dict
    seed: int

    def rng(self, *parts: object) -> Random:
        """A random generator of this example's own, different for every `parts`."""
        return generator(self.seed, self.example["id"], *parts)


@dataclass(frozen=True)
class Proposal:
    """`units`: the draft's, followed by the proposer's own (phrases, places to insert); units may overlap, a search's
    changes may not. `texts`: number of a unit -> its new texts, distinct, none equal to what stands there, best first.
    `why`: where there are no texts, the reason (a constant of `outcomes`, such as NO_PARALLEL); "" = nothing to change.
    """

    units: list[Unit]
    texts: dict[int, list[str]]
    why: str = ""


Proposer = Callable[[list[Draft]], list[Proposal]]


@dataclass(frozen=True)
class Resources:
    """What proposers and constraints may ask; None where the attack declares no such stand-in.

    fills(contexts, k, scripts): for each (before, after) the k likeliest texts of one masked place between them, in
        that script, with their probabilities, best first.
    similarity(pairs): cosine of the two texts of each pair, in the similarity encoder.
    neighbours(words, k): for each word the k nearest words of `vocabulary`, with their cosines, best first.
    vocabulary: the words of the whole file under attack, sorted.
    gradients(drafts, k): for each draft {number of a unit: [(word, first-order gain of the loss), ...]}, best first.
    align(pairs): for each pair of word lists the aligned (i, j), rising.
    translate(word, source, target): its translations by the dictionaries, best first.
    parallel: example id -> language code -> the same example in that language.
    passages: texts of the file (its contexts), for distractors.
    """

    fills: Callable | None = None
    similarity: Callable | None = None
    neighbours: Callable | None = None
    vocabulary: list[str] | None = None
    gradients: Callable | None = None
    align: Callable | None = None
    translate: Callable | None = None
    parallel: dict[str, dict[str, dict]] | None = None
    passages: list[str] | None = None
