"""Pairs of the same or other meaning: questions (qqp) and sentences (pawsx), in pairs of pairs.

Items 2k and 2k + 1 have the same first text and second texts of the same form: one exchanges who does it and to whom, a
place, a time, a property; the other only says the same again. Neither word counts nor word order alone tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from xstilts.embedded import edits, meaning
from xstilts.embedded.grammar import grammar
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause, noun
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct
from xstilts.embedded.tasks import denials, exclusions
from xstilts.embedded.tasks.contrast import arrangements, atoms, belongs, other, person, reflexive

Text = tuple  # (clause, template), or (clause, clause) joined by "and"


def _flat(draw: Callable, name: str, split: str, n: int | None, seed: int) -> Iterator[tuple[Text, Text, str]]:
    """(text, text, label): `draw` gives (identity, (first, other meaning, same meaning))."""
    s = Sampler(Rng(name, split, seed), split)
    found = distinct(None, lambda i: draw(s, i), f"{name} (pairs of items)", split)
    items = ((first, second, str(k)) for first, *seconds in found for k, second in enumerate(seconds))
    return islice(items, n)


def _own(s: Sampler, *parts) -> bool:
    """Of the split, by the words alone."""
    return meaning.split_of((*parts[:1], *sorted(atoms(tuple(parts[1:]))))) == s.split


# ------------------------------------------------------------ questions
WORDINGS = {"who": 3, "what": 3, "where": 3, "when": 2, "whether": 1}


def _askable(c: Clause) -> list[str]:
    kinds = ["who"] if c.subj.kind != "org" and c.subj.head not in meaning.leaves("animal") else []
    if c.obj and c.obj.head in meaning.leaves("thing"):
        kinds.append("what")
    return kinds + ["where"] * bool(c.place) + ["when"] * bool(c.time) + ["whether"] * bool(c.time)


def _wordings(c: Clause, asked: str) -> list[str]:
    """Templates that ask the same."""
    options = [asked] + [f"{asked}_2"] * (WORDINGS[asked] > 1)
    return options + [f"{asked}_3"] * (c.time is not None and asked != "when")


def _hidden(c: Clause, asked: str) -> Clause:
    slot = {"who": "subj", "what": "obj", "where": "place", "when": "time"}.get(asked)
    return c if slot is None else c._replace(**{slot: None if slot != "subj" else NP("person", None, "anna")})


def _turned(c: Clause) -> Clause | None:
    """Giver and receiver, or doer and sufferer, change places."""
    if c.subj.kind not in ("person", "noun"):
        return None
    if c.to is not None:
        return c._replace(subj=c.to, to=c.subj)
    if c.obj is None or (c.obj.kind == "noun" and c.obj.head not in meaning.subjects(c.pred)):
        return None
    if c.subj.kind == "noun" and c.subj.head not in meaning.objects(c.pred):
        return None
    return c._replace(subj=c.obj, obj=c.subj)


def _synonymous(s: Sampler, c: Clause) -> Clause:
    if c.pred == "buy" and s.rng.chance(0.5):
        c = c._replace(pred="purchase")
    if c.subj.kind == "and" and s.rng.chance(0.5):
        c = _other_order(c)
    return c


def _roles_asked(s: Sampler) -> tuple | None:
    """When does Anna visit Paul? / At what time does Paul visit Anna?"""
    rng = s.rng
    c = denials.gift(s) if rng.chance(0.35) else denials.deed(s)
    c = c._replace(neg=False)
    other_one = _turned(c)
    asked = [kind for kind in _askable(c) if kind != "who" and (kind != "what" or c.to)]
    if other_one is None or not asked:
        return None
    return c, other_one, rng.choice(asked)


def _slot_asked(s: Sampler) -> tuple | None:
    """Who buys the car in Paris? / Who purchases the car in Rome?"""
    rng = s.rng
    c = s.verb_clause()
    if c.subj.kind != "org" and rng.chance(0.2):
        c = s.conjoined(c)
    kinds = _askable(c)
    if not kinds:
        return None
    asked = rng.choice(kinds)
    changed = edits.replaced(c, s)
    for slot, kind in (("subj", "who"), ("obj", "what"), ("place", "where"), ("time", "when")):
        if asked == kind:
            changed = changed._replace(**{slot: getattr(c, slot)})
    if changed.tense != c.tense or meaning.skeleton(changed) == meaning.skeleton(c) or not edits.valid(changed):
        return None
    return c, changed, asked


def _question_pair(s: Sampler, i: int):
    rng = s.rng
    drawn = _slot_asked(s) if i % 3 == 2 else _roles_asked(s)
    if drawn is None:
        return None
    c, changed, asked = drawn
    if reflexive(c) or reflexive(changed) or not _own(s, "question", asked, _hidden(c, asked)):
        return None
    wordings = _wordings(c, asked)
    first = rng.choice(wordings)
    second = rng.choice([t for t in wordings if t != first] or wordings)
    said = _synonymous(s, c)
    again = (said, second)
    if second == first and said == c:
        return None
    # of what is exchanged the form stays; what is replaced is often asked in the same words
    form = second if i % 3 != 2 or rng.chance(0.3) else rng.choice(wordings)
    if c.pred == changed.pred and said.pred != c.pred:
        changed = changed._replace(pred=said.pred)
    return (_hidden(c, asked), first), ((c, first), (changed, form), again)


def questions(split: str, n: int | None, seed: int) -> Iterator[tuple[Text, Text, str]]:
    """(question, question, label): the meanings of qqp."""
    return _flat(_question_pair, "qqp", split, n, seed)


def qqp(language: str, split: str, n: int | None, seed: int) -> Iterator[dict]:
    """Two questions: do they ask the same?"""
    g = grammar(language)
    for i, (a, b, label) in enumerate(questions(split, n, seed)):
        yield {"id": f"{split}-{i}", "text_a": g.sentence(*a), "text_b": g.sentence(*b), "label": label}


# ------------------------------------------------------------ sentences
def _timed(s: Sampler, c: Clause) -> Clause:
    return c._replace(neg=False, time=c.time or s.rng.choice([t for t in meaning.times(c.tense) if t != "every_day"]))


def _roles(s: Sampler):
    """Anna visits Paul on Monday / on Monday, Paul visits Anna."""
    c = denials.gift(s) if s.rng.chance(0.3) else denials.deed(s)
    if not concepts()["verbs"][c.pred].get("time", True):
        return None
    c = _timed(s, c)
    changed = _turned(c)
    return changed and (c, changed)


def _properties(s: Sampler):
    """The old nurse visits the young man / the young nurse visits the old man."""
    verb = s.rng.choice(("visit", "greet", "photograph", "seek", "feed", "wash", "buy", "sell", "repair"))
    subj, obj = noun("the", s.rng.choice(s.people)), noun("the", s.rng.choice(meaning.objects(verb)))
    shared = [x for x in meaning.adjectives(subj.head) if x in meaning.adjectives(obj.head)]
    if subj.head == obj.head or len(shared) < 2:
        return None
    x, y = s.rng.sample(shared, 2)
    spots = meaning.places_for(verb, True)
    place = s.rng.choice(spots) if spots and s.rng.chance(0.5) else None
    c = _timed(s, Clause("verb", subj._replace(adj=x), verb, obj._replace(adj=y), place))
    return c, c._replace(subj=subj._replace(adj=y), obj=obj._replace(adj=x))


def _company(s: Sampler):
    """Anna and Paul visit Emma / Anna and Emma visit Paul."""
    verb = s.rng.choice(("visit", "greet", "photograph", "seek"))
    x = person(s)
    y = other(s, x)
    z = other(s, x, y)
    spots = meaning.places_for(verb, True)
    c = Clause("verb", NP("and", None, x, y), verb, z, s.rng.choice(spots) if spots else None)
    c = _timed(s, c) if s.rng.chance(0.6) else c
    return c, c._replace(subj=NP("and", None, z, y), obj=x)


FAMILIES = tuple(f for f in (*denials.FAMILIES, *exclusions.FAMILIES) if f[0] is not exclusions.admirer)
WEIGHTED = tuple(family for family in FAMILIES for _ in range(family[3]))


def _other_order(c: Clause) -> Clause:
    return c._replace(subj=NP("and", None, c.subj.adj, c.subj.head))


def _single(s: Sampler):
    """One clause: the time at the beginning or at the end, `X and Y` or `Y and X`."""
    draw = s.rng.choice((_roles, _roles, _roles, _properties, _company))
    made = draw(s)
    if made is None or not _own(s, "one", made[0]):
        return None
    c, changed = made
    if reflexive(c) or reflexive(changed):
        return None
    same = c
    templates = s.rng.shuffled(("statement", "fronted")) if c.time else ["statement", "statement"]
    if c.subj.kind == "and":
        same = c._replace(subj=NP("and", None, c.subj.adj, c.subj.head))
        changed = (
            changed
            if s.rng.chance(0.5)
            else changed._replace(subj=NP("and", None, changed.subj.adj, changed.subj.head))
        )
    return (c, templates[0]), ((c, templates[0]), (changed, templates[1]), (same, templates[1]))


def _double(s: Sampler):
    """Two clauses in the one or the other order; something is exchanged between them or nothing is."""
    draw, rest, *_ = s.rng.choice(WEIGHTED)
    drawn = rest(s, draw(s))
    if drawn is None:
        return None
    a, b, slots = drawn
    if (a.place is None) != (b.place is None) or (a.time is None) != (b.time is None):
        return None  # "Anna sings and Paul dances in the park": who is in the park?
    if not belongs(s, (a, b)) or a == b or reflexive(a) or reflexive(b):
        return None
    pairs = [pair for pair in arrangements(a, b, slots) if set(pair) != {a, b} and not any(map(reflexive, pair))]
    if not pairs:
        return None
    changed = s.rng.choice(pairs)
    if s.rng.chance(0.5):
        a, b, changed = b, a, changed[::-1]
    return (a, b), ((a, b), changed[::-1], (b, a))


def _sentence_pair(s: Sampler, i: int):
    return _double(s) if i % 2 else _single(s)


def sentences(split: str, n: int | None, seed: int) -> Iterator[tuple[Text, Text, str]]:
    """(sentence, sentence, label): the meanings of pawsx."""
    return _flat(_sentence_pair, "pawsx", split, n, seed)


def pawsx(language: str, split: str, n: int | None, seed: int) -> Iterator[dict]:
    """Two sentences of the same words: do they mean the same?"""
    g = grammar(language)

    def text(value: Text) -> str:
        return g.text(g.two_clauses(*value)) if isinstance(value[1], Clause) else g.sentence(*value)

    for i, (a, b, label) in enumerate(sentences(split, n, seed)):
        yield {"id": f"{split}-{i}", "text_a": text(a), "text_b": text(b), "label": label}


GENERATORS = {"qqp": qqp, "pawsx": pawsx}
