"""`python -m xstilts.embedded.probe LANGUAGE [N] [SEED]`: sampled sentences beside the English, for a reader."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from xstilts.embedded.grammar import grammar
from xstilts.embedded.meaning import Clause
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler
from xstilts.embedded.tasks.questions import askable


def meanings(n: int, seed: int = 1) -> Iterator[tuple[Clause, str]]:
    """(meaning, template): statements of every kind, one in five with the time first, and one question in four."""
    rng = Rng("probe", seed)
    s = Sampler(rng, "test")
    for i in range(n):
        if i % 4 == 3:
            clause = s.verb_clause(obj_dets=("the", "a"))
            asked = askable(clause)
            if asked:
                yield clause, rng.choice(asked)
                continue
        clause = s.clause()
        yield clause, "fronted" if clause.time and rng.chance(0.3) else "statement"


def pairs(language: str, n: int, seed: int = 1) -> Iterator[tuple[str, str]]:
    """(English, the language) of `meanings`."""
    for clause, template in meanings(n, seed):
        yield grammar("en").sentence(clause, template), grammar(language).sentence(clause, template)


if __name__ == "__main__":
    code, *rest = sys.argv[1:]
    for number, (english, other) in enumerate(pairs(code, *(int(value) for value in rest or ("60",))), 1):
        print(f"{number}. {other}\n   {english}")
