"""Natural language inference (mnli, xnli): every hypothesis occurs with three premises, one for each label.

Three triples of four are minimal contrasts (`contrast`): the same words in another arrangement. The fourth is loose:
each premise is the hypothesis after a few edits. So a hypothesis alone never tells the label, word counts seldom do.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice

from xstilts.embedded import edits, meaning
from xstilts.embedded.grammar import Grammar, grammar
from xstilts.embedded.inference import ENTAILMENT, NEUTRAL, relation
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import Clause
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct
from xstilts.embedded.tasks import denials, exclusions
from xstilts.embedded.tasks.contrast import LABELS, Premise, atoms, belongs, other, reflexive, triple

FAMILIES = (*denials.FAMILIES, *exclusions.FAMILIES)
WEIGHTED = tuple(family for family in FAMILIES for _ in range(family[3]))
LOOSE = 4  # every so many triples, one is loose
EDITS = 60  # edited premises that are tried for one label


def text(g: Grammar, premise: Premise) -> str:
    """One or two clauses as a sentence."""
    return g.sentence(premise[0]) if len(premise) == 1 else g.text(g.two_clauses(*premise))


# ------------------------------------------------------------ loose triples
def _hypothesis(s: Sampler) -> Clause:
    c = s.clause()
    weaker = edits.edited(c, s, 1, edits.WEAKENING) if s.rng.chance(0.5) else None
    return weaker or c


def _reported(s: Sampler, h: Clause, verbs: tuple[str, ...]) -> Clause | None:
    """Somebody says, believes or knows it."""
    if h.kind == "report" or h.tense != "present" or h.subj.rel or h.subj.kind == "and":
        return None
    if h.subj.kind == "noun" and h.subj.det != "the":
        return None
    who = other(s, h.subj, h.obj, h.to)
    return Clause("report", who, s.rng.choice(verbs), that=h)


def _detailed(s: Sampler, h: Clause) -> Clause | None:
    """With a relative clause at its subject."""
    if h.subj.kind != "noun" or h.subj.det != "the" or h.subj.adj or h.subj.rel or h.kind != "verb" or h.neg:
        return None
    rel = s.relative(h.subj.head, h.pred)
    if rel is None or (rel.obj and h.obj and rel.obj.head == h.obj.head) or (rel.place and h.place):
        return None
    return h._replace(subj=h.subj._replace(rel=rel))


def _denied(c: Clause) -> bool:
    return c.neg or c.subj.det == "no"


def _loose_premise(s: Sampler, h: Clause, label: str) -> Clause | None:
    rng = s.rng
    if label == ENTAILMENT:
        way = rng.random()
        if way < 0.15:
            return _reported(s, h, ("know_that",))
        if way < 0.3:
            return _detailed(s, h)
        return edits.edited(h, s, 1 + rng.below(2), edits.WEAKENING if _denied(h) else edits.STRENGTHENING)
    if label == NEUTRAL:
        way = rng.random()
        if way < 0.15:
            return _reported(s, h, ("say", "believe"))
        pool = edits.REPLACEMENTS if way < 0.6 else edits.ALL
        return edits.edited(h, s, 1 + rng.below(2), pool)
    opposite = edits.antonym(h, s) if h.kind == "adjective" and rng.chance(0.5) else None
    if h.kind == "verb" and "antonym" in concepts()["verbs"][h.pred] and rng.chance(0.5):
        opposite = h._replace(pred=concepts()["verbs"][h.pred]["antonym"])
    if h.kind == "at" and not h.neg and rng.chance(0.5):
        opposite = edits.other_place(h, s)
    p = opposite or (edits.negate(h, s) if h.kind != "report" else None)
    if p is not None and rng.chance(0.7):
        p = edits.edited(p, s, 1, edits.WEAKENING if _denied(p) else edits.STRENGTHENING)
    if p is not None and rng.chance(0.1):
        p = _reported(s, p, ("know_that",))
    return p if p is not None and edits.valid(p) else None


def loose(s: Sampler) -> tuple[Clause, tuple[Premise, ...]] | None:
    """A hypothesis and three edits of it."""
    h = s.own(lambda: _hypothesis(s))
    if not edits.valid(h) or reflexive(h):
        return None
    found = []
    for label in LABELS:
        for _ in range(EDITS):
            p = _loose_premise(s, h, label)
            if p is None or p == h or not belongs(s, (p,)):
                continue
            if relation(p, h) == label and meaning.skeleton(p) != meaning.skeleton(h):
                found.append((p,))
                break
        else:
            return None
    return h, tuple(found)


# ------------------------------------------------------------ items
def tight(s: Sampler) -> tuple[Clause, tuple[Premise, ...]] | None:
    """A hypothesis and three arrangements of the same words."""
    hypothesis, rest, reported, _ = s.rng.choice(WEIGHTED)
    h = s.own(lambda: hypothesis(s))
    premises = triple(s, h, rest, reported)
    return None if premises is None else (h, premises)


def identity(h: Clause, premises: tuple[Premise, ...]) -> tuple:
    """Of a tight triple: no pair of premise and hypothesis is in two triples that differ in this."""
    return h, sorted(atoms(premises[0]))


def _draw(s: Sampler, i: int):
    if i % LOOSE == LOOSE - 1:
        made = loose(s)
        return made and (made[:1], made)
    made = tight(s)
    return made and (identity(*made), made)


def pairs(name: str, split: str, n: int | None, seed: int) -> Iterator[tuple[Premise, Clause, str]]:
    """(premise, hypothesis, label) without end, or `n` of them: item i has hypothesis i // 3 and label i % 3."""
    s = Sampler(Rng(name, split, seed), split)
    found = distinct(None, lambda i: _draw(s, i), f"{name} (triples)", split)
    items = ((p, h, label) for h, premises in found for p, label in zip(premises, LABELS, strict=True))
    return islice(items, n)


def nli(name: str, language: str, split: str, n: int | None, seed: int) -> Iterator[dict]:
    """Rows of `pairs`."""
    g = grammar(language)
    for i, (p, h, label) in enumerate(pairs(name, split, n, seed)):
        yield {"id": f"{split}-{i}", "text_a": text(g, p), "text_b": g.sentence(h), "label": label}


GENERATORS = {"mnli": partial(nli, "mnli"), "xnli": partial(nli, "xnli")}
