"""Retrieval: parallel sentences (tatoeba) and mining pools with distractors (bucc2018). No names, cities or digits."""

from __future__ import annotations

from xstilts.embedded import edits, meaning
from xstilts.embedded.grammar import grammar
from xstilts.embedded.meaning import Clause
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct


def _sentence(s: Sampler) -> tuple:
    clause = s.own(s.clause)
    return meaning.skeleton(clause), clause


def _row(side: str, number: int, text: str, match: str | None) -> dict:
    return {"id": f"{side}-{number}", "side": side, "text": text, "match": match}


def tatoeba(language: str, split: str, n: int, seed: int) -> list[dict]:
    """`n` source sentences in random order, then their English partners in alphabetical order."""
    s = Sampler(Rng("tatoeba", split, seed), split, names=False)
    clauses = distinct(n, lambda i: _sentence(s), "tatoeba", split)
    source, english = grammar(language), grammar("en")
    texts = [english.sentence(clause) for clause in clauses]
    order = sorted(range(n), key=lambda k: (texts[k], k))
    rank = {k: place for place, k in enumerate(order)}
    rows = [_row("source", k, source.sentence(c), f"target-{rank[k]}") for k, c in enumerate(clauses)]
    return rows + [_row("target", place, texts[k], f"source-{k}") for place, k in enumerate(order)]


def _pools(split: str, n: int, seed: int) -> tuple[list[Clause], list[Clause], list[Clause]]:
    """`n` gold meanings and `n` distractors a side, half of them one slot away from a gold sentence."""
    rng = Rng("bucc2018", split, seed)
    s = Sampler(rng, split, names=False)
    gold = distinct(n, lambda i: _sentence(s), "bucc2018", split)
    taken = {meaning.skeleton(clause) for clause in gold}

    def distractor(i: int):
        clause = s.own(s.clause) if i % 4 < 2 else edits.replaced(rng.choice(gold), s)
        key = meaning.skeleton(clause)
        return None if key in taken or meaning.split_of(clause) != split else (key, clause)

    others = distinct(2 * n, distractor, "bucc2018", split)
    return gold, others[::2], others[1::2]


def bucc2018(language: str, split: str, n: int, seed: int) -> list[dict]:
    """Both pools in random order: `n` gold pairs and `n` unmatched sentences a side."""
    gold, one, two = _pools(split, n, seed)
    rng = Rng("bucc2018 order", split, seed)
    sides = {"source": rng.shuffled(range(2 * n)), "target": rng.shuffled(range(2 * n))}
    position = {side: {k: place for place, k in enumerate(order)} for side, order in sides.items()}
    rows = []
    for side, other, extra, code in (("source", "target", one, language), ("target", "source", two, "en")):
        g = grammar(code)
        sentences = [*gold, *extra]
        for place, k in enumerate(sides[side]):
            match = f"{other}-{position[other][k]}" if k < n else None
            rows.append(_row(side, place, g.sentence(sentences[k]), match))
    return rows


GENERATORS = {"tatoeba": tatoeba, "bucc2018": bucc2018}
