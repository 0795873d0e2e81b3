"""Meanings: the language-independent structures that every lexicon renders."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from xstilts.embedded.lexicon import concepts
from xstilts.embedded.rng import stable_hash

PLURAL = ("two", "three", "some")
BUCKETS = 10


class NP(NamedTuple):
    """A noun phrase. kind noun: `det`, `head`, `adj`, `rel`; person: head first name, adj surname or None; org: head;
    and: head and adj are noun phrases; gap: the subject of a relative clause. `rel`: a clause with a gap as subject
    ("the teacher who sings in the park"), only after `the` and `a`."""

    kind: str
    det: str | None
    head: object
    adj: object = None
    rel: Clause | None = None


class Clause(NamedTuple):
    """One proposition.

    kind: verb | at (is in a place) | adjective (`pred` is true of the subject) | isa (the subject is a `pred` by
    trade) | report (`pred`, a verb, takes `that`). `to`: to whom something is given. tense: present | future.
    """

    kind: str
    subj: NP
    pred: str | None = None
    obj: NP | None = None
    place: str | None = None
    time: str | None = None
    neg: bool = False
    to: NP | None = None
    tense: str = "present"
    that: Clause | None = None


GAP = NP("gap", None, None)


def noun(det: str, head: str, adj: str | None = None, rel: Clause | None = None) -> NP:
    """A noun phrase with a common noun."""
    return NP("noun", det, head, adj, rel)


@cache
def ancestors(concept: str) -> tuple[str, ...]:
    """The concept and its hypernyms, nearest first."""
    parent = concepts()["nouns"].get(concept)
    return (concept, *(ancestors(parent) if parent else ()))


@cache
def leaves(group: str) -> tuple[str, ...]:
    """The basic nouns under a hypernym, a group of concepts.yaml or a basic noun itself."""
    groups = concepts()["groups"]
    if group in groups:
        return tuple(dict.fromkeys(leaf for member in groups[group] for leaf in leaves(member)))
    nouns = concepts()["nouns"]
    children = [key for key, parent in nouns.items() if parent == group]
    return tuple(leaf for child in children for leaf in leaves(child)) if children else (group,)


@cache
def subjects(verb: str) -> tuple[str, ...]:
    """Basic nouns that can do it."""
    return tuple(x for group in concepts()["verbs"][verb]["subject"] for x in leaves(group))


@cache
def doers(verb: str) -> tuple[str, ...]:
    """`subjects` without companies, which occur by name only."""
    return tuple(head for head in subjects(verb) if head != "company")


@cache
def verbs(valency: str) -> tuple[str, ...]:
    """Verbs that are no synonyms. valency: intransitive | transitive | ditransitive | report."""
    items = concepts()["verbs"].items()
    return tuple(key for key, value in items if valency_of(key) == valency and "synonym" not in value)


@cache
def valency_of(verb: str) -> str:
    """See `verbs`."""
    value = concepts()["verbs"][verb]
    if "complement" in value:
        return "report"
    if "recipient" in value:
        return "ditransitive"
    return "transitive" if "object" in value else "intransitive"


@cache
def excludes(verb: str) -> tuple[str, ...]:
    """Verbs that nobody does at the same moment, with their antonym."""
    table = concepts()["verbs"]
    named = {verb, table[verb].get("synonym")}
    one = [key for key in table[verb].get("excludes", ())]
    other = [key for key, value in table.items() if named & set(value.get("excludes", ()))]
    antonym = table[verb].get("antonym")
    return tuple(dict.fromkeys([*one, *other, *([antonym] if antonym else [])]))


@cache
def objects(verb: str) -> tuple[str, ...]:
    """Basic nouns it can be done to; empty: intransitive."""
    return tuple(x for group in concepts()["verbs"][verb].get("object", ()) for x in leaves(group))


@cache
def adjectives(head: str) -> tuple[str, ...]:
    """Adjectives that go with a basic noun."""
    items = concepts()["adjectives"].items()
    return tuple(key for key, value in items if any(head in leaves(group) for group in value["of"]))


@cache
def verbs_for(head: str, valency: str) -> tuple[str, ...]:
    """Verbs of a valency (see `verbs`) whose subject the noun can be; synonyms left out."""
    return tuple(verb for verb in verbs(valency) if head in subjects(verb))


@cache
def places(*kinds: str) -> tuple[str, ...]:
    """Places of these kinds."""
    return tuple(key for key, value in concepts()["places"].items() if value["kind"] in kinds)


@cache
def places_for(verb: str | None, names: bool) -> tuple[str, ...]:
    """Where a verb (None: being) can happen. `names`: cities too, and for `work` organisations."""
    rule = concepts()["verbs"][verb].get("place", "land") if verb else "land"
    if rule == "none":
        return ()
    if rule == "water":
        return places("water")
    land = places("room", "outdoor", "building")
    if not names:
        return land
    return land + places("city") + (tuple(concepts()["organisations"]) if verb == "work" else ())


def containers(place: str) -> tuple[str, ...]:
    """What contains the place, nearest first."""
    parent = concepts()["places"].get(place, {}).get("in")
    return (parent, *containers(parent)) if parent else ()


@cache
def times(tense: str) -> tuple[str, ...]:
    """Times that go with a tense."""
    return tuple(key for key, value in concepts()["times"].items() if value.get("tense", tense) == tense)


@cache
def wider_times(time: str) -> tuple[str, ...]:
    """Times that contain it: Monday and the morning contain Monday morning."""
    return tuple(concepts()["times"][time].get("in", ()))


def types(np: NP) -> tuple[str, ...]:
    """Nouns that are true of what the phrase denotes, most special first."""
    if np.kind == "noun":
        return ancestors(np.head)
    return ancestors("company" if np.kind == "org" else "person")


def _np_skeleton(np: NP | None):
    if np is None or np.kind == "gap":
        return None
    if np.kind in ("person", "org"):
        return np.head, np.adj
    if np.kind == "and":
        return "and", _np_skeleton(np.head), _np_skeleton(np.adj)
    det = "the" if np.det == "a" else np.det
    return det, np.head, "old" if np.adj == "aged" else np.adj, np.rel and skeleton(np.rel)


def skeleton(clause: Clause) -> tuple:
    """The meaning as far as every language expresses it: `a` and `the` are one (Russian has no articles), and so are
    `old` and `aged`, which only some languages tell apart."""
    kind, subj, pred, obj, place, time, neg, to, tense, that = clause
    pred = "old" if pred == "aged" else pred
    return (kind, _np_skeleton(subj), pred, _np_skeleton(obj), place, time, neg, _np_skeleton(to), tense,
            that and skeleton(that))  # fmt: skip


@cache
def shift(head: str) -> int:
    """What the head of its subject adds to the bucket of a clause."""
    return stable_hash("shift", head) % BUCKETS


def mover(subj: NP) -> NP | None:
    """The noun or person of a subject whose head shifts the bucket: of "X and Y" the first; None for companies."""
    first = subj.head if subj.kind == "and" else subj
    return first if first.kind in ("noun", "person") else None


def with_mover(subj: NP, head: str | None) -> NP:
    """The subject with another head where `mover` looks."""
    if subj.kind == "and":
        return subj._replace(head=subj.head._replace(head=head))
    return subj._replace(head=head)


def bucket(clause: Clause) -> int:
    """0-9: decides the split. One hash for all that is said, plus the `shift` of whom it is said of, so that somebody
    of whom it belongs to a wanted split is found without hashing again."""
    moving = mover(clause.subj)
    if moving is None:
        return stable_hash("split", skeleton(clause)) % BUCKETS
    rest = skeleton(clause._replace(subj=with_mover(clause.subj, None)))
    return (stable_hash("split", rest) + shift(moving.head)) % BUCKETS


def split_of(value) -> str:
    """train (80 %), dev (10 %) or test (10 %), decided by the meaning alone: no seed, size or task changes it.

    A clause counts by its skeleton; anything else is a tuple of plain values.
    """
    number = bucket(value) if isinstance(value, Clause) else stable_hash("split", value) % BUCKETS
    return split_of_bucket(number)


def split_of_bucket(number: int) -> str:
    """The split of a `bucket`."""
    return "train" if number < 8 else ("dev" if number == 8 else "test")
