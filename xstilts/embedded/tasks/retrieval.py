"""Retrieval: parallel sentences (tatoeba) and mining pools with distractors (bucc2018). No names, cities or digits.

One sentence in eight is a question, so that question words occur among the parallel sentences too.
"""

from __future__ import annotations

from xstilts.embedded import edits, meaning
from xstilts.embedded.grammar import grammar
from xstilts.embedded.meaning import Clause, noun
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct
from xstilts.embedded.tasks.questions import askable
from xstilts.embedded.tasks.tagging import names_in

EVERY = 8
STATEMENT = "statement"
# What a question asks for is not said: always the same stands for it, so that one question is one meaning.
HIDDEN = {
    "who": {"subj": noun("the", "man")},
    "what": {"obj": noun("the", "book")},
    "where": {"place": "kitchen"},
    "when": {"time": "monday"},
}
Said = tuple[Clause, str]  # a clause and the template that says it


def _key(said: Said) -> tuple:
    return said[1], meaning.skeleton(said[0])


def _question(s: Sampler) -> Said | None:
    """A question of this split; None: draw again."""
    clause = s.at_clause() if s.rng.chance(0.2) else s.verb_clause(obj_dets=("the", "a"))
    kinds = askable(clause)
    if not kinds:
        return None
    asked = s.rng.choice(kinds)
    clause = clause._replace(**HIDDEN[asked])
    if asked != "who":
        clause = s.moved(clause)
    elif meaning.split_of(clause) != s.split:
        return None
    return None if clause is None or not edits.valid(clause) else (clause, asked)


def _sentence(s: Sampler, i: int) -> tuple | None:
    said = _question(s) if i % EVERY == EVERY - 1 else (s.own(s.clause), STATEMENT)
    return said and (_key(said), said)


def _row(side: str, number: int, text: str, match: str | None) -> dict:
    return {"id": f"{side}-{number}", "side": side, "text": text, "match": match}


def tatoeba(language: str, split: str, n: int, seed: int) -> list[dict]:
    """`n` source sentences in random order, then their English partners in alphabetical order."""
    s = Sampler(Rng("tatoeba", split, seed), split, names=False)
    sentences = list(distinct(n, lambda i: _sentence(s, i), "tatoeba", split))
    source, english = grammar(language), grammar("en")
    texts = [english.sentence(*said) for said in sentences]
    order = sorted(range(n), key=lambda k: (texts[k], k))
    rank = {k: place for place, k in enumerate(order)}
    rows = [_row("source", k, source.sentence(*said), f"target-{rank[k]}") for k, said in enumerate(sentences)]
    return rows + [_row("target", place, texts[k], f"source-{k}") for place, k in enumerate(order)]


def _near(s: Sampler, said: Said) -> Said | None:
    """The sentence with one slot exchanged, in this split."""
    clause, template = edits.replaced(said[0], s), said[1]
    if names_in(clause) or (template != STATEMENT and template not in askable(clause)):
        return None
    if template != STATEMENT:
        clause = clause._replace(**HIDDEN[template])
    return (clause, template) if meaning.split_of(clause) == s.split and edits.valid(clause) else None


def _pools(split: str, n: int, seed: int) -> tuple[list[Said], list[Said], list[Said]]:
    """`n` gold meanings and `n` distractors a side, half of them one slot away from a gold sentence."""
    rng = Rng("bucc2018", split, seed)
    s = Sampler(rng, split, names=False)
    gold = list(distinct(n, lambda i: _sentence(s, i), "bucc2018", split))
    taken = {_key(said) for said in gold}

    def distractor(i: int) -> tuple | None:
        if i % 4 < 2:
            drawn = _sentence(s, i // 4)  # as many questions as among the gold sentences
        else:
            near = _near(s, rng.choice(gold))
            drawn = near and (_key(near), near)
        return None if drawn is None or drawn[0] in taken else drawn

    others = list(distinct(2 * n, distractor, "bucc2018", split))
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
            rows.append(_row(side, place, g.sentence(*sentences[k]), match))
    return rows


GENERATORS = {"tatoeba": tatoeba, "bucc2018": bucc2018}
