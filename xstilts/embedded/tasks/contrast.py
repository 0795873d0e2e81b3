"""Minimal contrast: one hypothesis and three premises made of the same words in another arrangement, one a label.

A family draws a hypothesis and two clauses that entail it; exchanging subjects, objects, places, times or negations
between the clauses gives premises that contradict it or have no bearing on it. No count of words, of shared words or
of negations can tell them apart. Labels are `inference.relation`'s; an arrangement without a clear label is not used.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

from xstilts.embedded import meaning
from xstilts.embedded.inference import CONTRADICTION, ENTAILMENT, NEUTRAL, relation
from xstilts.embedded.meaning import NP, Clause, noun
from xstilts.embedded.sampling import Sampler

LABELS = (ENTAILMENT, NEUTRAL, CONTRADICTION)
UNCONFIRMED = ("say", "believe")
SAID_ALIKE = {"a": "the", "aged": "old"}  # in some languages, see `meaning.skeleton`
TRIES = 40  # draws of the rest for one hypothesis

Premise = tuple[Clause, ...]


def atoms(value) -> list[str]:
    """The concepts of a clause, a noun phrase or several, in no telling order: all arrangements have the same."""
    out: list[str] = []
    for part in value:
        if part is None:
            continue
        if isinstance(part, Clause):
            out += atoms(part)
        elif isinstance(part, NP):
            out += _phrase_atoms(part)
        else:
            out.append(SAID_ALIKE.get(part, str(part)))
    return out


@lru_cache(maxsize=50_000)
def _phrase_atoms(np: NP) -> tuple[str, ...]:
    return tuple(atoms(np))


def belongs(s: Sampler, premise: Premise) -> bool:
    """The premise is of the sampler's split: decided by its words for several clauses, so that all arrangements of
    them are of one split, and as everywhere else for a single clause."""
    if len(premise) == 1:
        return meaning.split_of(premise[0]) == s.split
    return meaning.split_of(("several", *sorted(atoms(premise)))) == s.split


# ------------------------------------------------------------ arrangements
def _exchanged(a: Clause, b: Clause, slot: str) -> tuple[Clause, Clause]:
    if slot == "roles":
        x, y = a.subj, a.subj.rel.obj
        return a._replace(subj=y._replace(rel=a.subj.rel._replace(obj=x._replace(rel=None)))), b
    if slot in ("det", "head"):
        x, y = getattr(a.subj, slot), getattr(b.subj, slot)
        return a._replace(subj=a.subj._replace(**{slot: y})), b._replace(subj=b.subj._replace(**{slot: x}))
    x, y = getattr(a, slot), getattr(b, slot)
    return a._replace(**{slot: y}), b._replace(**{slot: x})


def _value(c: Clause, slot: str):
    return getattr(c.subj if slot in ("det", "head") else c, slot)


def arrangements(a: Clause, b: Clause, slots: tuple[str, ...]) -> list[tuple[Clause, Clause]]:
    """Every way to exchange what the clauses have in these slots."""
    moving = [slot for slot in slots if slot == "roles" or _value(a, slot) != _value(b, slot)]
    out = []
    for flags in product((False, True), repeat=len(moving)):
        pair = (a, b)
        for slot, flag in zip(moving, flags, strict=True):
            if flag:
                pair = _exchanged(*pair, slot)
        out.append(pair)
    return out


def _reported(second: Clause, frame: tuple | None) -> Clause:
    return second if frame is None else Clause("report", frame[0], frame[1], that=second)


def person(s: Sampler) -> NP:
    """A name or `the` person."""
    return s.name() if s.rng.chance(0.5) else noun("the", s.rng.choice(s.people))


def other(s: Sampler, *taken: NP | None) -> NP:
    """Somebody else."""
    heads = {np.head for np in taken if np}
    while True:
        found = person(s)
        if found.head not in heads:
            return found


def _report_frame(s: Sampler, h: Clause, a: Clause, b: Clause, verbs: tuple[str, ...]) -> tuple | None:
    """(who, verb) of a report around the second clause; quantified subjects stay outside."""
    if any(c.subj.det not in (None, "the") or c.subj.kind == "org" or c.tense != "present" for c in (a, b)):
        return None
    taken = set(atoms((h, a, b)))
    for _ in range(5):
        who = person(s)
        if who.head not in taken:
            return who, s.rng.choice(verbs)
    return None


def triple(s: Sampler, h: Clause, rest, reported: float = 0.0) -> tuple[Premise, ...] | None:
    """Premises of `h` by label. `rest(s, h)` gives (clause, clause, slots to exchange) or None."""
    rng = s.rng
    for _ in range(TRIES):
        drawn = rest(s, h)
        if drawn is None:
            continue
        a, b, slots = drawn
        # of a mood nothing but an unconfirmed report leaves the other two labels open
        verbs = UNCONFIRMED if reported == 1 else meaning.verbs("report")
        frame = _report_frame(s, h, a, b, verbs) if rng.chance(reported) else None
        if belongs(s, (a, _reported(b, frame))):
            return labelled(s, h, arrangements(a, b, slots), frame)
    return None


def labelled(s: Sampler, h: Clause, pairs: list, frame: tuple | None) -> tuple[Premise, ...] | None:
    found: dict[str, Premise] = {}
    if frame is None:
        orders = [ordered(s, *pair) for pair in pairs]
    else:  # only what comes second is reported
        orders = [order for pair in pairs for order in (pair, pair[::-1])]
    for first, second in s.rng.shuffled(orders):
        if reflexive(first) or reflexive(second):
            continue
        premise = (first, _reported(second, frame))
        label = relation(premise, h)
        if label is not None and label not in found:
            found[label] = premise
            if len(found) == 3:
                return tuple(found[label] for label in LABELS)
    return None


def ordered(s: Sampler, a: Clause, b: Clause) -> tuple[Clause, Clause]:
    """First the one with more adverbials: in "Anna sings and Paul dances in the park", who is in the park?"""
    more = sum(x is not None for x in (b.place, b.time)) - sum(x is not None for x in (a.place, a.time))
    return (b, a) if more > 0 or (more == 0 and s.rng.chance(0.5)) else (a, b)


def reflexive(c: Clause) -> bool:
    """The girl loves the girl: herself, or another?"""
    heads = [np.head for np in (c.subj, c.obj, c.to) if np is not None]
    return len(set(heads)) < len(heads)
