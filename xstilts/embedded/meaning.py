"""Meanings: the language-independent structures that every lexicon renders."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from xstilts.embedded.lexicon import concepts
from xstilts.embedded.rng import stable_hash

PLURAL = ("two", "three", "some")


class NP(NamedTuple):
    """A noun phrase. kind noun: `det`, `head`, `adj`; person: head first name, adj surname or None; org: head;
    and: head and adj are noun phrases."""

    kind: str
    det: str | None
    head: object
    adj: object = None


class Clause(NamedTuple):
    """One proposition in the present tense. kind verb | at (is in a place) | adjective; `pred` a verb or adjective."""

    kind: str
    subj: NP
    pred: str | None = None
    obj: NP | None = None
    place: str | None = None
    time: str | None = None
    neg: bool = False


def noun(det: str, head: str, adj: str | None = None) -> NP:
    """A noun phrase with a common noun."""
    return NP("noun", det, head, adj)


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
def verbs(transitive: bool) -> tuple[str, ...]:
    """All verbs but synonyms."""
    items = concepts()["verbs"].items()
    return tuple(key for key, value in items if ("object" in value) == transitive and "synonym" not in value)


@cache
def objects(verb: str) -> tuple[str, ...]:
    """Basic nouns it can be done to; empty: intransitive."""
    return tuple(x for group in concepts()["verbs"][verb].get("object", ()) for x in leaves(group))


@cache
def absurd(verb: str) -> tuple[str, ...]:
    """Basic nouns that nobody does it to."""
    return tuple(x for group in concepts()["verbs"][verb].get("absurd", ()) for x in leaves(group))


@cache
def adjectives(head: str) -> tuple[str, ...]:
    """Adjectives that go with a basic noun."""
    items = concepts()["adjectives"].items()
    return tuple(key for key, value in items if any(head in leaves(group) for group in value["of"]))


@cache
def verbs_for(head: str, transitive: bool) -> tuple[str, ...]:
    """Verbs whose subject the noun can be; synonyms left out."""
    return tuple(verb for verb in verbs(transitive) if head in subjects(verb))


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


def types(np: NP) -> tuple[str, ...]:
    """Nouns that are true of what the phrase denotes, most special first."""
    if np.kind == "noun":
        return ancestors(np.head)
    return ancestors("company" if np.kind == "org" else "person")


def _np_skeleton(np: NP | None):
    if np is None or np.kind in ("person", "org"):
        return np and (np.head, np.adj)
    if np.kind == "and":
        return "and", _np_skeleton(np.head), _np_skeleton(np.adj)
    return "the" if np.det == "a" else np.det, np.head, "old" if np.adj == "aged" else np.adj


def skeleton(clause: Clause) -> tuple:
    """The meaning as far as every language expresses it: `a` and `the` are one (Russian has no articles), and so are
    `old` and `aged`, which only Chinese tells apart."""
    kind, subj, pred, obj, place, time, neg = clause
    return kind, _np_skeleton(subj), "old" if pred == "aged" else pred, _np_skeleton(obj), place, time, neg


def split_of(value) -> str:
    """train (80 %), dev (10 %) or test (10 %), decided by the meaning alone: no seed, size or task changes it.

    A clause counts by its skeleton; anything else is a tuple of plain values.
    """
    bucket = stable_hash("split", skeleton(value) if isinstance(value, Clause) else value) % 10
    return "train" if bucket < 8 else ("dev" if bucket == 8 else "test")
