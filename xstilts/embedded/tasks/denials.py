"""Families of contrast in which one of two clauses is denied, and all arrangements have the same negations.

A family is a pair of functions: one draws a hypothesis, the other (clause, clause, slots that may be exchanged) of
which the first clause entails it. See `contrast`.
"""

from __future__ import annotations

from functools import cache

from xstilts.embedded import meaning
from xstilts.embedded.implication import disjoint_places, times_apart
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause, noun
from xstilts.embedded.sampling import Sampler
from xstilts.embedded.tasks.contrast import other, person

MUTUAL = ("visit", "greet", "photograph", "seek", "know")


# ------------------------------------------------------------ individuals, places, times
def thing(s: Sampler, verb: str, *taken: NP | None) -> NP:
    """Something or somebody else that it can be done to."""
    heads = {np.head for np in taken if np}
    choices = [head for head in meaning.objects(verb) if head not in heads]
    head = s.rng.choice(choices)
    if head in s.people and s.rng.chance(0.4):
        return other(s, *taken)
    return noun("the", head)


def apart(s: Sampler, time: str, tense: str = "present") -> str | None:
    """A time that cannot overlap with this one."""
    choices = [t for t in meaning.times(tense) if times_apart(t, time)]
    return s.rng.choice(choices) if choices else None


def disjoint(s: Sampler, place: str, spots: tuple[str, ...]) -> str | None:
    """A place that nothing is in that is in this one."""
    choices = [x for x in spots if x in concepts()["places"] and disjoint_places(x, place)]
    return s.rng.choice(choices) if choices else None


def where(s: Sampler, h: Clause) -> tuple[Clause, Clause]:
    """(what entails h, what h's denial needs) differ in the place or the time, the one containing the other; mostly
    they are both h."""
    a, b = h, h
    for slot, inside in (("place", narrower_places), ("time", narrower_times)):
        value = getattr(h, slot)
        if value is None or not s.rng.chance(0.5):
            continue
        if h.neg:
            around = meaning.containers(value) if slot == "place" else meaning.wider_times(value)
            options: tuple = around if (h.kind, slot) == ("at", "place") else (*around, None)
        else:
            options = inside(value)
        if options:
            a = a._replace(**{slot: s.rng.choice(options)})
    return a, b


@cache
def narrower_places(place: str) -> tuple[str, ...]:
    return tuple(key for key, value in concepts()["places"].items() if value.get("in") == place)


@cache
def narrower_times(time: str) -> tuple[str, ...]:
    return tuple(key for key, value in concepts()["times"].items() if time in value.get("in", ()))


# ------------------------------------------------------------ families: one clause is denied, one is not
def _denial(s: Sampler, h: Clause, rest: Clause, slots: tuple[str, ...]):
    """a: entails h; b: of the other polarity, with the adverbials that the denial of h needs."""
    a, needed = where(s, h)
    b = rest._replace(neg=not h.neg)
    if a.place != h.place:
        b = b._replace(place=needed.place)
    if a.time != h.time:
        b = b._replace(time=needed.time)
    return a, b, ("subj", "neg", *slots)


def quality(s: Sampler) -> Clause:
    """Anna is (not) clever; the cup is (not) red."""
    c = s.adjective_clause()
    return c._replace(neg=s.rng.chance(0.5), subj=c.subj._replace(rel=None))


def _quality_rest(s: Sampler, h: Clause):
    x = h.subj
    if x.kind == "person" or x.head in s.people:
        y, common = other(s, x), meaning.adjectives("teacher")
    else:
        table = concepts()["adjectives"][h.pred]["of"]
        heads = [head for group in table for head in meaning.leaves(group) if head != x.head and head not in s.people]
        if not heads:
            return None
        y = noun("the", s.rng.choice(heads))
        common = tuple(p for p in meaning.adjectives(x.head) if p in meaning.adjectives(y.head))
    table = concepts()["adjectives"]
    colour = "colour" in table[h.pred]
    options = [p for p in common if p not in (h.pred, table[h.pred].get("antonym"))]
    options = [p for p in options if not (colour and "colour" in table[p])]
    if not options:
        return None
    return _denial(s, h, Clause("adjective", y, s.rng.choice(options)), ())


def trade(s: Sampler) -> Clause:
    """Anna is (not) a doctor."""
    return s.isa_clause()._replace(neg=s.rng.chance(0.5))


def _trade_rest(s: Sampler, h: Clause):
    trades = [x for x in concepts()["professions"] if x != h.pred]
    y = s.name()
    return None if y.head == h.subj.head else _denial(s, h, Clause("isa", y, s.rng.choice(trades)), ())


def being(s: Sampler) -> Clause:
    """Anna is (not) in the park on Monday."""
    subj = person(s)
    tense, time = s.tense_and_time(None, 0.6)
    place = s.rng.choice(meaning.places_for(None, True) + meaning.places("country"))
    time = "today" if time == "every_day" else time
    return Clause("at", subj, None, None, place, time, s.rng.chance(0.5), tense=tense)


def _being_rest(s: Sampler, h: Clause):
    place = disjoint(s, h.place, meaning.places_for(None, True))
    if place is None:
        return None
    rest = Clause("at", other(s, h.subj), place=place, time=h.time, tense=h.tense)
    return _denial(s, h, rest, ("place",))


def adverbials(s: Sampler, verb: str) -> dict:
    spots = meaning.places_for(verb, True)
    place = s.rng.choice(spots) if spots and s.rng.chance(0.5) else None
    if place in concepts()["places"] and s.rng.chance(0.3):
        place = (*meaning.containers(place), place)[0]
    tense, time = s.tense_and_time(verb, 0.5)
    return {"place": place, "time": "today" if time == "every_day" else time, "tense": tense}


def deed(s: Sampler) -> Clause:
    """Anna buys (does not buy) the lamp in Berlin; half of the time a deed among people."""
    verb = s.rng.choice(MUTUAL if s.rng.chance(0.5) else meaning.verbs("transitive"))
    subj = person(s)
    obj = thing(s, verb, subj)
    return Clause("verb", subj, verb, obj, neg=s.rng.chance(0.5), **adverbials(s, verb))


def _deed_rest(s: Sampler, h: Clause):
    y = other(s, h.subj, h.obj)
    mutual = h.obj.kind == "person" or h.obj.head in s.people
    obj = h.subj if mutual and s.rng.chance(0.7) else thing(s, h.pred, h.subj, h.obj, y)
    return _denial(s, h, Clause("verb", y, h.pred, obj, tense=h.tense), ("obj", "place", "time"))


def gift(s: Sampler) -> Clause:
    """Anna gives (does not give) the key to Paul."""
    verb = s.rng.choice(meaning.verbs("ditransitive"))
    subj = person(s)
    to = other(s, subj)
    obj = noun("the", s.rng.choice(meaning.objects(verb)))
    return Clause("verb", subj, verb, obj, neg=s.rng.chance(0.5), to=to, **adverbials(s, verb))


def _gift_rest(s: Sampler, h: Clause):
    y, obj = other(s, h.subj, h.to), h.obj
    to = h.subj
    if s.rng.chance(0.5):
        obj, to = thing(s, h.pred, h.obj), (h.subj if s.rng.chance(0.5) else other(s, h.subj, h.to, y))
    return _denial(s, h, Clause("verb", y, h.pred, obj, to=to, tense=h.tense), ("obj", "to", "place", "time"))


def moment(s: Sampler) -> Clause:
    """Anna sings (does not sing) on Monday."""
    verb = s.rng.choice(meaning.verbs("intransitive"))
    tense, _ = s.tense_and_time(verb, 0)
    time = s.rng.choice([t for t in meaning.times(tense) if t not in ("every_day", "now", "today", "tomorrow")])
    return Clause("verb", person(s), verb, time=time, neg=s.rng.chance(0.5), tense=tense)


def _moment_rest(s: Sampler, h: Clause):
    a, _ = where(s, h)
    time = h.time if a.time != h.time else apart(s, h.time, h.tense)
    b = Clause("verb", other(s, h.subj), h.pred, time=time, neg=not h.neg, tense=h.tense)
    return a, b, ("subj", "neg", "time")


def plan(s: Sampler) -> Clause:
    """Anna will (not) sing in the park: the verb has one form."""
    verb = s.rng.choice(meaning.verbs("intransitive"))
    c = Clause("verb", person(s), verb, neg=s.rng.chance(0.5), **adverbials(s, verb))
    return c._replace(tense="future", time=c.time if c.tense == "future" else None)


def _plan_rest(s: Sampler, h: Clause):
    verbs = [v for v in meaning.verbs("intransitive") if v != h.pred and meaning.places_for(v, True)[:1]]
    same = meaning.places_for(h.pred, True)
    verbs = [v for v in verbs if meaning.places_for(v, True) == same]
    if not verbs:
        return None
    return _denial(s, h, Clause("verb", other(s, h.subj), s.rng.choice(verbs), tense="future"), ("place", "time"))


# (draw the hypothesis, the rest, how often the second clause is reported, weight)
FAMILIES = (
    (quality, _quality_rest, 0.25, 3),
    (trade, _trade_rest, 0.0, 1),
    (being, _being_rest, 0.25, 2),
    (deed, _deed_rest, 0.2, 4),
    (gift, _gift_rest, 0.15, 2),
    (moment, _moment_rest, 0.2, 2),
    (plan, _plan_rest, 0.0, 1),
)
