"""Families of contrast without a denied clause: opposites, moments, deeds that exclude each other, every and no.

A family is a pair of functions: one draws a hypothesis, the other (clause, clause, slots that may be exchanged) of
which the first clause entails it. See `contrast`.
"""

from __future__ import annotations

from functools import cache

from xstilts.embedded import meaning
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import Clause, noun
from xstilts.embedded.sampling import Sampler
from xstilts.embedded.tasks.contrast import other, person
from xstilts.embedded.tasks.denials import MUTUAL, adverbials, disjoint, narrower_places, thing

POINTS = ("noon", "midnight")


def feeling(s: Sampler) -> Clause:
    """Anna loves (does not hate) the dog."""
    verb = s.rng.choice(("love", "hate"))
    subj = person(s)
    return Clause("verb", subj, verb, thing(s, verb, subj), neg=s.rng.chance(0.4))


def _feeling_rest(s: Sampler, h: Clause):
    verbs = ("love", "hate") if (h.pred == "love") != h.neg else ("hate", "love")
    y = other(s, h.subj, h.obj)
    mutual = h.obj.kind == "person" or h.obj.head in s.people
    obj = h.subj if mutual and s.rng.chance(0.7) else thing(s, h.pred, h.subj, h.obj, y)
    return Clause("verb", h.subj, verbs[0], h.obj), Clause("verb", y, verbs[1], obj), ("subj", "obj")


def whereabouts(s: Sampler) -> Clause:
    """Anna is (does not sing) in the kitchen at noon."""
    tense = "future" if s.rng.chance(0.2) else "present"
    place = s.rng.choice(meaning.places("room", "outdoor", "city", "country"))
    time = s.rng.choice(POINTS)
    pred = s.rng.choice(("work", "sing", "dance", "laugh", "cry")) if s.rng.chance(0.4) else None
    kind = "verb" if pred else "at"
    return Clause(kind, person(s), pred, place=place, time=time, neg=s.rng.chance(0.35), tense=tense)


def _whereabouts_rest(s: Sampler, h: Clause):
    spots = meaning.places("room", "outdoor", "city")
    place = disjoint(s, h.place, spots)
    if place is None:
        return None
    time = POINTS[h.time == POINTS[0]]
    kind, pred = h.kind, h.pred
    if kind == "at" and s.rng.chance(0.4):
        kind, pred = "verb", s.rng.choice(("work", "sing", "dance", "laugh", "cry"))
    here = h.place
    inside = [x for x in narrower_places(here) if x in spots] if here in concepts()["places"] else []
    if inside and not h.neg:
        here = s.rng.choice(inside)
    x = Clause(kind, h.subj, pred, place=here, time=h.time, tense=h.tense)
    y = Clause(kind, other(s, h.subj), pred, place=place, time=time, tense=h.tense)
    if h.neg:
        x, y = x._replace(place=place), y._replace(place=here)
    return x, y, ("subj", "place", "time")


def pastime(s: Sampler) -> Clause:
    """Anna sleeps (does not work) at noon."""
    verbs = [v for v in meaning.verbs("intransitive") if _rivals(v)]
    tense = "future" if s.rng.chance(0.2) else "present"
    verb = s.rng.choice(verbs)
    return Clause("verb", person(s), verb, time=s.rng.choice(POINTS), neg=s.rng.chance(0.4), tense=tense)


def _rivals(verb: str) -> list[str]:
    return [v for v in meaning.excludes(verb) if meaning.valency_of(v) == "intransitive"]


def _pastime_rest(s: Sampler, h: Clause):
    rival = s.rng.choice(_rivals(h.pred))
    time = POINTS[h.time == POINTS[0]]
    places = meaning.places_for(h.pred, True)
    place = s.rng.choice(places) if meaning.places_for(rival, True) == places and s.rng.chance(0.6) else None
    verbs = (rival, h.pred) if h.neg else (h.pred, rival)
    x = Clause("verb", h.subj, verbs[0], time=h.time, tense=h.tense)
    y = Clause("verb", other(s, h.subj), verbs[1], place=place, time=time, tense=h.tense)
    return x, y, ("subj", "place", "time")


def crowd(s: Sampler) -> Clause:
    """The boy sings, no boy sings: whether every child or no child does."""
    verb = s.rng.choice(meaning.verbs("transitive") if s.rng.chance(0.5) else meaning.verbs("intransitive"))
    while not meaning.doers(verb) or verb in ("love", "hate", "know"):
        verb = s.rng.choice(meaning.verbs("intransitive"))
    head = s.rng.choice(meaning.doers(verb))
    obj = None
    if meaning.objects(verb):
        obj = noun("the", s.rng.choice([x for x in meaning.objects(verb) if x != head]))
    positive = s.rng.chance(0.5)
    kind = s.rng.random()
    if kind < 0.4:
        subj, neg = noun("the", head), not positive
    elif kind < 0.6 and head in s.people:
        subj, neg = s.name(), not positive
    else:
        subj, neg = noun("every" if positive else "no", head), False
    values = adverbials(s, verb)
    if values["time"] == "every_day":
        values["time"] = None
    return Clause("verb", subj, verb, obj, neg=neg, **values)


def _crowd_rest(s: Sampler, h: Clause):
    negative = h.neg or h.subj.det == "no"
    head = "person" if h.subj.kind == "person" else s.rng.choice(_doing_kinds(h.subj.head, h.pred))
    choices = _crowds(head, h.pred, h.time is not None)
    if not choices:
        return None
    group, verb = s.rng.choice(choices)
    if h.obj and s.rng.chance(0.5):
        verb = h.pred
    obj = None
    if h.obj:
        things = [x for x in meaning.objects(verb) if x not in (h.obj.head, h.subj.head, head, group)]
        if not things:
            return None
        obj = noun("the", s.rng.choice(things))
    dets = ("no", "every") if negative else ("every", "no")
    a = h._replace(subj=noun(dets[0], head), neg=False)
    return a, Clause("verb", noun(dets[1], group), verb, obj, tense=h.tense), ("det", "head", "place", "time")


@cache
def _doing_kinds(head: str, verb: str) -> tuple[str, ...]:
    """The noun and its hypernyms of which all can do it."""
    return (head, *(x for x in meaning.ancestors(head)[1:] if _all_can(x, verb)))


@cache
def _all_can(kind: str, verb: str) -> bool:
    return all(leaf in meaning.subjects(verb) for leaf in meaning.leaves(kind))


@cache
def _crowds(head: str, pred: str, timed: bool) -> tuple[tuple[str, str], ...]:
    """(other kind, verb of the same frame) such that both kinds can do both."""
    kinds = [x for x in ("person", "animal", "child", "bird", *meaning.doers(pred)) if _all_can(x, pred)]
    kinds = [x for x in kinds if x not in meaning.ancestors(head) and head not in meaning.ancestors(x)]
    verbs = [v for v in meaning.verbs(meaning.valency_of(pred)) if v != pred and _all_can(head, v)]
    verbs = [v for v in verbs if meaning.places_for(v, True) == meaning.places_for(pred, True)]
    verbs = [v for v in verbs if not timed or concepts()["verbs"][v].get("time", True)]
    return tuple((kind, verb) for kind in kinds for verb in verbs if _all_can(kind, verb))


def mood(s: Sampler) -> Clause:
    """Anna is (not) happy: of two people one is happy and one is sad, and of one it is only said."""
    word = s.rng.choice(("happy", "sad", "young", "old"))
    return Clause("adjective", person(s), word, neg=s.rng.chance(0.5))


def _mood_rest(s: Sampler, h: Clause):
    antonym = concepts()["adjectives"][h.pred]["antonym"]
    words = (antonym, h.pred) if h.neg else (h.pred, antonym)
    return Clause("adjective", h.subj, words[0]), Clause("adjective", other(s, h.subj), words[1]), ("subj",)


def admirer(s: Sampler) -> Clause:
    """The teacher is (not) happy: she, or somebody whom she visits."""
    word = s.rng.choice(("happy", "sad", "young", "old"))
    return Clause("adjective", noun("the", s.rng.choice(s.people)), word, neg=s.rng.chance(0.5))


def _admirer_rest(s: Sampler, h: Clause):
    antonym = concepts()["adjectives"][h.pred]["antonym"]
    words = (antonym, h.pred) if h.neg else (h.pred, antonym)
    x = h.subj
    liked, y = (noun("the", head) for head in s.rng.sample([head for head in s.people if head != x.head], 2))
    if s.rng.chance(0.5):
        y = s.name()
    rel = Clause("verb", meaning.GAP, s.rng.choice((*MUTUAL, "love", "hate")), liked)
    a = Clause("adjective", x._replace(rel=rel), words[0])
    return a, Clause("adjective", y, words[1]), ("roles", "pred")


FAMILIES = (
    (feeling, _feeling_rest, 0.2, 3),
    (whereabouts, _whereabouts_rest, 0.2, 3),
    (pastime, _pastime_rest, 0.2, 2),
    (crowd, _crowd_rest, 0.0, 4),
    (mood, _mood_rest, 1.0, 2),
    (admirer, _admirer_rest, 0.0, 3),
)
