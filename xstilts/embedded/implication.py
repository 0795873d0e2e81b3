"""When one predicate implies or excludes another: objects, places, times. Subjects and polarity: see `inference`."""

from __future__ import annotations

from functools import cache

from xstilts.embedded import meaning
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause, containers, types

AT_LEAST = {"a": 1, "some": 2, "two": 2, "three": 3}
# Who does this in a place is there; who photographs, paints or seeks something in a place may be elsewhere.
PRESENT = {
    "sleep", "work", "sing", "dance", "play", "laugh", "cry", "swim", "read", "write", "eat", "wash", "repair", "feed",
    "greet", "give", "show", "buy", "sell",
}  # fmt: skip
# Days, parts of the day and seasons: different ones do not overlap, but the night holds midnight.
TIME_SCALES = (
    ("monday", "wednesday", "friday", "sunday"),
    ("morning", "noon", "evening", "night", "midnight"),
    ("summer", "winter"),
    ("today", "tomorrow"),
)


def verb_of(clause: Clause) -> str | None:
    """The predicate, a synonym by the verb that it stands for."""
    if clause.kind != "verb":
        return clause.pred
    return concepts()["verbs"][clause.pred].get("synonym", clause.pred)


def object_within(special: NP | None, general: NP | None) -> bool:
    """Whatever is done to `special` is done to `general`."""
    if special == general:
        return True
    if special is None or general is None or general.kind != "noun" or special.kind == "and":
        return False
    if general.adj and (special.kind != "noun" or general.adj != special.adj):
        return False
    if general.head not in types(special):
        return False
    if special.det in meaning.PLURAL:
        return general.det in ("some", "two") and AT_LEAST[special.det] >= AT_LEAST[general.det]
    return general.det == "a"


@cache
def place_within(special: str | None, general: str | None) -> bool:
    """What is in `special` is in `general` (None: anywhere)."""
    return general is None or general == special or general in containers(special or "")


@cache
def time_within(special: str | None, general: str | None) -> bool:
    """What happens at `special` happens at `general` (None: some time)."""
    return general is None or general == special or (special is not None and general in meaning.wider_times(special))


@cache
def times_apart(a: str | None, b: str | None) -> bool:
    """Both are given and cannot overlap: Monday morning and Friday, noon and midnight."""
    if a is None or b is None:
        return False
    left, right = ({time, *meaning.wider_times(time)} for time in (a, b))
    for scale in TIME_SCALES:
        for x in scale:
            for y in scale:
                if x != y and x in left and y in right and {x, y} != {"night", "midnight"}:
                    return True
    return False


@cache
def disjoint_places(a: str, b: str) -> bool | None:
    """Nothing is in both at once: True; one may contain the other: False; unclear (two buildings): None."""
    if place_within(a, b) or place_within(b, a):
        return False
    table = concepts()["places"]
    if a not in table or b not in table:
        return None
    kinds = {table[a]["kind"], table[b]["kind"]}
    if kinds <= {"city", "country"}:
        return True
    if kinds & {"city", "country"}:
        return False
    if kinds <= {"outdoor"} or kinds <= {"room"} or ("outdoor" in kinds and len(kinds) == 2):
        return True
    return None


def within(special: Clause, general: Clause) -> bool:
    """The predicate of `special` (all but subject and polarity) implies that of `general`, in the same tense."""
    return (
        special.kind == general.kind
        and verb_of(special) == verb_of(general)
        and special.tense == general.tense
        and object_within(special.obj, general.obj)
        and object_within(special.to, general.to)
        and place_within(special.place, general.place)
        and time_within(special.time, general.time)
    )


@cache
def is_point(time: str | None) -> bool:
    """A moment, at which one is in one place and does not do two excluding things."""
    return time is not None and bool(concepts()["times"][time].get("point"))


def is_there(c: Clause) -> bool:
    """A positive clause that says where its subject is; a company may be in several places."""
    doing = c.kind == "at" or (c.kind == "verb" and verb_of(c) in PRESENT)
    return doing and c.subj.kind != "org" and c.place in concepts()["places"]


def exclusive(p: Clause, h: Clause) -> bool:
    """The two predicates cannot both hold of one individual."""
    if p.tense != h.tense:
        return False
    if p.kind == h.kind == "adjective":
        return concepts()["adjectives"][p.pred].get("antonym") == h.pred
    if p.kind == h.kind == "verb" and concepts()["verbs"][p.pred].get("antonym") == h.pred:
        definite = p.obj is not None and (p.obj.kind == "person" or p.obj.det == "the")
        return definite and p.obj == h.obj
    if p.time != h.time or not {p.kind, h.kind} <= {"verb", "at"}:
        return False
    at_once = is_point(p.time)
    # "Anna is in the kitchen" is about now; "will be" is not about one moment
    now = p.kind == h.kind == "at" and p.time is None and p.tense == "present"
    if is_there(p) and is_there(h) and (at_once or now) and disjoint_places(p.place, h.place):
        return True
    return at_once and p.kind == h.kind == "verb" and verb_of(h) in meaning.excludes(verb_of(p))
