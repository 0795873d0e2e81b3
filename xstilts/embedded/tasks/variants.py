"""Training data of the paper's variants: plain text (masked language modelling), MNLI in every language."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from xstilts.embedded import meaning
from xstilts.embedded.grammar import grammar
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct
from xstilts.embedded.tasks.nli import nli

SENTENCES = (1, 2, 3, 4)


def text(language: str, split: str, n: int | None, seed: int) -> Iterator[dict]:
    """Rows {id, text} of one to four sentences of the split: the same meanings in every language."""
    s, g = Sampler(Rng("text", split, seed), split), grammar(language)

    def draw(_: int) -> tuple:
        clauses = [s.own(s.clause) for _ in range(s.rng.choice(SENTENCES))]
        return tuple(map(meaning.skeleton, clauses)), clauses

    for number, clauses in enumerate(distinct(n, draw, "text", split)):
        yield {"id": f"{split}-{number}", "text": g.paragraph([g.sentence(clause) for clause in clauses])}


# the meanings of `mnli`, item by item, so that each language is a translation without errors of the English set
GENERATORS = {"text": text, "mnli_translated": partial(nli, "mnli")}
