"""Adversarial natural language inference (anli), in three rounds as Nie et al. 2020: every item fools a heuristic.

Round 1: the word-overlap heuristic is wrong, round 2: the negation heuristic, round 3: both, and for the same reason.
Each says one of three labels, and each wrong label is as frequent as the other, so that doing the opposite of what a
heuristic says does not lead far. The context grows with the round: one, two or three further sentences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from xstilts.embedded import meaning
from xstilts.embedded.grammar import grammar
from xstilts.embedded.inference import CONTRADICTION, ENTAILMENT, NEUTRAL, relation
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause, noun
from xstilts.embedded.rng import Rng, stable_hash
from xstilts.embedded.sampling import Sampler, distinct
from xstilts.embedded.tasks import denials, exclusions
from xstilts.embedded.tasks.contrast import LABELS, Premise, triple
from xstilts.embedded.tasks.nli import text

ROUNDS = 3
GUESSES = (ENTAILMENT, CONTRADICTION, NEUTRAL)  # by how much is missing or how much more there is: 0, 1, more
HABITS = ("photograph", "seek", "buy", "sell", "wash", "repair", "paint")  # what the further sentences tell
AWAY = ("morning", "evening")  # apart from noon and midnight
PASTIMES = ("work", "sing", "dance", "laugh", "cry")


# ------------------------------------------------------------ heuristics
def content(clauses: Sequence[Clause]) -> frozenset[str]:
    """The content words of a text, as concepts."""
    found: set[str] = set()
    for c in clauses:
        if c.that is not None:
            found |= content([c.that])
        found |= {c.pred, c.place, c.time}
        for np in (c.subj, c.obj, c.to):
            for part in (np.head, np.adj) if np and np.kind == "and" else (np,):
                if part is not None:
                    found |= {part.head, part.adj}
                    found |= content([part.rel]) if part.rel else set()
    return frozenset(found - {None})


def negations(clauses: Sequence[Clause]) -> int:
    """How many "not" and "no" a text has."""
    return sum(c.neg + (c.subj.det == "no") + (negations([c.that]) if c.that else 0) for c in clauses)


def overlap_guess(story: Sequence[Clause], h: Clause) -> str:
    """All words of the hypothesis are in the text: entailment; one is not: contradiction; more: neutral."""
    return GUESSES[min(2, len(content([h]) - content(story)))]


def negation_guess(story: Sequence[Clause], h: Clause) -> str:
    """As many negations in both: entailment; one more or fewer: contradiction; otherwise neutral."""
    return GUESSES[min(2, abs(negations(story) - negations([h])))]


def fooled(number: int, story: Sequence[Clause], h: Clause, label: str) -> bool:
    """The heuristics of this round are wrong."""
    wrong = overlap_guess(story, h) != label, negation_guess(story, h) != label
    return {1: wrong[0], 2: wrong[1], 3: all(wrong)}[number]


# ------------------------------------------------------------ hypotheses of which the text says little
def sighting(s: Sampler) -> Clause:
    """Anna is (dances) in Germany at noon."""
    rng = s.rng
    subj = NP("person", None, rng.choice(s.first_names))
    if rng.chance(0.6):
        subj = noun(
            "the", rng.choice(("boy", "girl", "duck", "eagle", "dog", "cat", "horse", "cow", "lion", "elephant"))
        )
    place = rng.choice((*meaning.places("country"), "house", "school"))
    pred = rng.choice(PASTIMES) if rng.chance(0.4) and _kind(subj.head) != "animal" else None
    tense = "future" if rng.chance(0.2) else "present"
    return Clause("verb" if pred else "at", subj, pred, None, place, rng.choice(exclusions.POINTS), tense=tense)


def _kind(head: str) -> str:
    return meaning.ancestors(head)[-1] if head in concepts()["nouns"] else "person"


def _sighting_rest(s: Sampler, h: Clause):
    """Every person dances in Berlin at noon and every animal plays in Madrid at midnight."""
    rng = s.rng
    inside = denials.narrower_places(h.place)
    spots = meaning.places("city") if h.place in meaning.places("country") else meaning.places("room", "outdoor")
    elsewhere = denials.disjoint(s, h.place, [x for x in spots if x not in inside])
    here = rng.choice(inside)
    elsewhere = elsewhere or denials.disjoint(s, here, spots)
    if elsewhere is None:
        return None
    kinds = ["person", "child", "animal", "bird", "teacher", "doctor", "nurse", "farmer", "cook", "singer", "driver"]
    above = [x for x in (meaning.ancestors(h.subj.head)[1:] if h.subj.kind == "noun" else ("person",)) if x in kinds]
    one = rng.choice(above)
    other = rng.choice([x for x in kinds if one not in meaning.ancestors(x) and x not in meaning.ancestors(one)])
    kind, pred = h.kind, h.pred
    if h.kind == "at" and "animal" not in (_kind(one), _kind(other)) and rng.chance(0.5):
        kind, pred = "verb", rng.choice(PASTIMES)
    if pred and "animal" in (_kind(one), _kind(other)):
        return None
    times = (h.time, exclusions.POINTS[h.time == exclusions.POINTS[0]])
    a, b = (
        Clause(kind, noun("every", who), pred, None, place, time, tense=h.tense)
        for who, place, time in zip((one, other), (here, elsewhere), times, strict=True)
    )
    return a, b, ("head", "place", "time")


NEGATIVE = tuple(f for f in denials.FAMILIES for _ in range(f[3]))
POSITIVE = tuple(f for f in exclusions.FAMILIES if f[0] is not exclusions.crowd for _ in range(f[3]))


def _base(s: Sampler, number: int) -> tuple[Clause, tuple[Premise, ...]] | None:
    """A hypothesis and its contrasting premises; all have as many negations as the hypothesis."""
    if number != 2:
        h = s.own(lambda: sighting(s))
        premises = triple(s, h, _sighting_rest)
    else:
        negative = s.rng.chance(0.5)
        draw, rest, reported, _ = s.rng.choice(NEGATIVE if negative else POSITIVE)
        h = s.own(lambda: draw(s)._replace(neg=negative))
        premises = triple(s, h, rest, reported)
    return None if premises is None else (h, premises)


# ------------------------------------------------------------ further sentences
def _filler(
    s: Sampler, taken: frozenset[str], tense: str, negative: bool, subj: NP | None, place: str | None
) -> Clause:
    """A deed of somebody else, somewhere else, at another time."""
    rng = s.rng
    while True:
        who = subj or NP("person", None, rng.choice(s.first_names))
        verb = rng.choice(HABITS)
        obj = noun("the", rng.choice(meaning.objects(verb)))
        where = place or rng.choice(meaning.places("city"))
        c = Clause("verb", who, verb, obj, where, rng.choice(AWAY), negative, tense=tense)
        mine = {who.head if subj is None else None, verb, obj.head, where if place is None else None}
        if not mine & taken:
            return c


def _context(s: Sampler, number: int, premise: Premise, h: Clause, guess: str) -> list[Clause]:
    """Sentences that lead the heuristics of the round to this guess."""
    level = GUESSES.index(guess)
    taken = content(premise) | content([h]) | _neighbourhood(premise, h)
    # as many negations more as the guess wants, in the order of the sentences
    signs = [False] * number
    if number == 2:
        signs = s.rng.shuffled([k < level for k in range(2)])
    elif number == 3:
        signs = [False, *s.rng.shuffled([k < level for k in range(2)])]
    out: list[Clause] = []
    for k, sign in enumerate(signs):
        if k == 0 and number != 2:
            c = _about(s, taken, h, level)
        else:
            c = _filler(s, taken, h.tense, sign, None, None)
        out.append(c)
        taken = taken | content([c])
    return out


def _neighbourhood(premise: Premise, h: Clause) -> frozenset[str]:
    """Places that contain one of those mentioned, or are in the same place: nothing else is told of them."""
    around = {x for c in (*premise, h) if c.place for x in meaning.containers(c.place)}
    return frozenset(around | {x for place in around for x in denials.narrower_places(place)})


def _about(s: Sampler, taken: frozenset[str], h: Clause, level: int) -> Clause:
    """Who and where the hypothesis is about (level 0), one of both (1), neither (2), but neither what nor when."""
    shown = s.rng.chance(0.5)
    subj = h.subj if level == 0 or (level == 1 and shown) else None
    place = h.place if level == 0 or (level == 1 and not shown) else None
    if subj is not None and _kind(subj.head) == "animal":
        return _filler(s, taken, h.tense, False, None, place)._replace(pred="photograph", obj=subj)
    return _filler(s, taken, h.tense, False, subj, place)


def _draw(s: Sampler, i: int):
    """(story, hypothesis, label) for each label, or None: draw again."""
    number = i % ROUNDS + 1
    made = _base(s, number)
    if made is None:
        return None
    h, premises = made
    shift = 1 + (i // ROUNDS) % 2
    items = []
    for k, (label, premise) in enumerate(zip(LABELS, premises, strict=True)):
        context = _context(s, number, premise, h, LABELS[(k + shift) % 3])
        story = [*premise, *context]
        if relation(story, h) != label or not fooled(number, story, h, label):
            return None
        place = s.rng.below(len(context) + 1)
        items.append((([*((c,) for c in context[:place]), premise, *((c,) for c in context[place:])]), h, label))
    return items


def stories(split: str, n: int | None, seed: int) -> Iterator[tuple[list[Premise], Clause, str]]:
    """(sentences, hypothesis, label): item i has hypothesis i // 3, label i % 3 and round (i // 3) % 3 + 1."""
    s = Sampler(Rng("anli", split, seed), split)
    seen: set[int] = set()

    def draw(i: int):
        items = _draw(s, i)
        keys = [stable_hash(story, h) for story, h, _ in items or ()]
        if items is None or seen.intersection(keys):
            return None
        seen.update(keys)
        return keys, items

    found = distinct(None, draw, "anli (triples)", split)
    return islice((item for items in found for item in items), n)


def anli(language: str, split: str, n: int | None, seed: int) -> Iterator[dict]:
    """Rows of `stories`; the id tells the round."""
    g = grammar(language)
    for i, (story, h, label) in enumerate(stories(split, n, seed)):
        context = g.paragraph([text(g, sentence) for sentence in story])
        number = (i // len(LABELS)) % ROUNDS + 1
        yield {"id": f"{split}-r{number}-{i}", "text_a": context, "text_b": g.sentence(h), "label": label}


GENERATORS = {"anli": anli}
