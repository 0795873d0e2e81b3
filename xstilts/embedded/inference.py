"""Which label a premise gives to a hypothesis: decided from the meanings, never from how the pair was made.

Readings: `the X` and names denote one individual; `a`, `some` (two or more), `two`, `three` are existential and "at
least"; `every X` implies that there is one, and holds of `the X`; `no X` denies `a X`. Present tense clauses with the
same time (or both without) are about the same occasion.
"""

from __future__ import annotations

from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause, containers, types

ENTAILMENT, NEUTRAL, CONTRADICTION = "entailment", "neutral", "contradiction"


def _object_within(special: NP | None, general: NP | None) -> bool:
    """Whatever is done to `special` is done to `general`."""
    if special == general:
        return True
    if special is None or general is None or general.kind != "noun":
        return False
    if general.adj and (special.kind != "noun" or general.adj != special.adj):
        return False
    if general.head not in types(special):
        return False
    if special.det in ("two", "three", "some"):
        order = {"three": 3, "two": 2, "some": 2}
        return general.det == "some" or (general.det == "two" and order[special.det] > 2)
    return general.det == "a"


def _within(special: Clause, general: Clause) -> bool:
    """The predicate of `special` (all but subject and polarity) implies that of `general`."""
    if special.kind != general.kind or special.pred != general.pred or not _object_within(special.obj, general.obj):
        return False
    if general.place not in (None, special.place, *containers(special.place or "")):
        return False
    return general.time in (None, special.time)


def _disjoint_places(a: str, b: str) -> bool | None:
    """Nothing is in both at once: True; one may contain the other: False; unclear (two buildings): None."""
    if a == b or a in containers(b) or b in containers(a):
        return False
    table = concepts()["places"]
    kinds = {table[a]["kind"], table[b]["kind"]}
    if kinds <= {"city", "country"}:
        return True
    if kinds & {"city", "country"}:
        return False
    if kinds <= {"outdoor"} or kinds <= {"room"} or ("outdoor" in kinds and len(kinds) == 2):
        return True
    return None


def _excludes(p: Clause, h: Clause) -> bool:
    """The two predicates cannot both hold of one individual."""
    if p.kind == h.kind == "adjective":
        return concepts()["adjectives"][p.pred].get("antonym") == h.pred
    return p.kind == h.kind == "at" and p.time == h.time and _disjoint_places(p.place, h.place) is True


def _specific(np: NP) -> bool:
    return np.kind in ("person", "org") or (np.kind == "noun" and np.det == "the")


def _members(np: NP) -> tuple[NP, ...]:
    """The specific individuals a subject denotes (with adjectives dropped from nothing: they identify)."""
    if np.kind == "and":
        return (np.head, np.adj)
    return (np,) if _specific(np) else ()


def _subject_implies(p: NP, h: NP) -> bool:
    """`p` are B implies `h` are B, both upward readings."""
    if p == h:
        return True
    if _members(h):
        if _members(p):
            return set(_members(h)) <= set(_members(p))
        return p.det == "every" and all(m.kind == "noun" and not m.adj and p.head in types(m) for m in _members(h))
    if h.det == "every":
        return p.det == "every" and p.head in types(h)
    if h.adj and h.adj != p.adj:
        return False
    shared = [types(member) for member in _members(p)] or [types(p)]
    if h.det == "a":
        return any(h.head in kind for kind in shared)
    if h.det == "some":
        if p.kind == "and":
            return all(h.head in kind for kind in shared)
        return p.det in ("two", "three", "some") and h.head in types(p)
    return h.det == "two" and p.det == "three" and h.head in types(p)


def relation(p: Clause, h: Clause) -> str | None:
    """Label of (premise, hypothesis); None where speakers could disagree: such a pair is not to be used."""
    if p.kind != h.kind:
        return None
    if p == h:
        return ENTAILMENT
    p_no, h_no = p.subj.det == "no", h.subj.det == "no"
    p_neg, h_neg = p.neg or p_no, h.neg or h_no
    if not p_neg and not h_neg:
        return _positive(p, h)
    if p_neg and h_neg:
        if _denies(p, h):
            return ENTAILMENT
        return _unless_vague(p, h, NEUTRAL)
    positive, negative = (h, p) if p_neg else (p, h)
    if _affirms_denied(positive, negative):
        return CONTRADICTION
    if not p_neg and not h_no and p.subj == h.subj and _excludes(p, h):
        return ENTAILMENT
    if p.neg and p.subj == h.subj and _within(p, h):
        return None  # "does not sing in the park" suggests, and does not say, that she sings
    return _unless_vague(p, h, NEUTRAL)


def _positive(p: Clause, h: Clause) -> str | None:
    if _subject_implies(p.subj, h.subj) and _within(p, h):
        return ENTAILMENT
    if p.subj == h.subj and _excludes(p, h):
        return CONTRADICTION
    return _unless_vague(p, h, NEUTRAL)


def _denies(p: Clause, h: Clause) -> bool:
    """Both negative: `p` denies at least what `h` denies."""
    if not _within(h, p):
        return False
    if p.subj.det == "no":
        if h.subj.det == "no":
            return p.subj.head in types(h.subj)
        return all(p.subj.head in types(member) for member in _members(h.subj))
    if h.subj.det == "no":
        return False
    return set(_members(h.subj)) <= set(_members(p.subj))


def _affirms_denied(positive: Clause, negative: Clause) -> bool:
    """`positive` asserts something that `negative` denies."""
    if not _within(positive, negative):
        return False
    if negative.subj.det == "no":
        wanted = NP("noun", "a", negative.subj.head)
        return _subject_implies(positive.subj, wanted)
    if negative.subj.kind == "and" or positive.subj.kind == "and":
        return bool(set(_members(positive.subj)) & set(_members(negative.subj)))
    return _subject_implies(positive.subj, negative.subj)


def _unless_vague(p: Clause, h: Clause, label: str) -> str | None:
    """None for pairs where logic says neutral and readers may not: a different place or number for the same deed,
    two buildings, `a dog` taken up by `the dog`."""
    if _same_name(p.subj, h.subj) or _same_name(p.obj, h.obj) or _name_and_sex(p.subj, h.subj):
        return None
    times = {p.time, h.time}
    if len(times) == 2 and None not in times and ("every_day" in times or times == {"now", "today"}):
        return None  # every day: on Monday too
    if p.kind == "adjective" and p.pred != h.pred and all(_is_colour(c.pred) for c in (p, h)):
        return None  # red and black: perhaps both
    subjects = {p.subj.det, h.subj.det}
    same_type = p.subj.kind == h.subj.kind == "noun" and (p.subj.head in types(h.subj) or h.subj.head in types(p.subj))
    if same_type and p.subj != h.subj:
        indefinite = subjects & {"a", "some", "two", "three"}
        if indefinite and subjects & {"the"}:
            return None
        if len(subjects) == 2 and subjects <= {"two", "three", "a"}:
            return None
        if p.subj.det == "every" and h.subj.det in ("some", "two", "three"):
            return None
        if p.subj.adj != h.subj.adj:
            return None
    if p.place and h.place and p.place != h.place:
        nested = h.place in containers(p.place) or p.place in containers(h.place)
        if not nested and (p.subj == h.subj or same_type):
            return None if p.kind == "verb" or _disjoint_places(p.place, h.place) is None or p.time == h.time else label
    if p.obj and h.obj and p.obj.kind == h.obj.kind == "noun" and p.obj != h.obj:
        related = p.obj.head in types(h.obj) or h.obj.head in types(p.obj)
        dets = {p.obj.det, h.obj.det}
        if related and (p.obj.adj != h.obj.adj or (len(dets) == 2 and dets != {"the", "a"})):
            return None
        if related and p.obj.head == h.obj.head and dets == {"the", "a"}:
            return None
    return label


def _is_colour(adjective: str) -> bool:
    return "colour" in concepts()["adjectives"][adjective]


def _individuals(np: NP | None) -> tuple[NP, ...]:
    return (np.head, np.adj) if np and np.kind == "and" else ((np,) if np else ())


def _same_name(a: NP | None, b: NP | None) -> bool:
    """Anna and Anna Weber: the same woman or not?"""
    return any(
        x.kind == y.kind == "person" and x.head == y.head and x != y for x in _individuals(a) for y in _individuals(b)
    )


def _name_and_sex(a: NP, b: NP) -> bool:
    """Anna and a woman: readers infer more from a name than `types` knows."""
    pairs = [(x, y) for x in _individuals(a) for y in _individuals(b)] + [
        (y, x) for x in _individuals(a) for y in _individuals(b)
    ]
    return any(x.kind == "person" and y.kind == "noun" and y.det != "the" and y.head != "person" for x, y in pairs)
