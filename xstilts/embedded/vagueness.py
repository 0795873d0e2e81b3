"""Pairs about which readers could disagree although logic says that nothing follows: they are not used."""

from __future__ import annotations

from xstilts.embedded import meaning
from xstilts.embedded.implication import disjoint_places, place_within, times_apart, verb_of
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause, types

# Readers see more in these pairs than the words say: who loves somebody knows her, who cries is not happy.
ACQUAINTED = ("know", "love", "hate", "visit", "greet")
HANDED = ("give", "send", "show", "sell")
MOODS = ("happy", "sad", "tired", "hungry")


def specific(np: NP) -> bool:
    """It denotes one individual that both speakers know."""
    return np.kind in ("person", "org") or (np.kind == "noun" and np.det == "the")


def members(np: NP) -> tuple[NP, ...]:
    """The specific individuals a subject denotes."""
    if np.kind == "and":
        return (np.head, np.adj)
    return (np,) if specific(np) else ()


def _related(a: NP | None, b: NP | None) -> bool:
    """Nouns of which one is a kind of the other."""
    return a is not None and b is not None and a.kind == b.kind == "noun" and (
        a.head in types(b) or b.head in types(a))  # fmt: skip


def vague(p: Clause, h: Clause) -> bool:
    """A different place or number for the same deed, two buildings, `a dog` taken up by `the dog`, deeds that suggest
    each other."""
    if any(same_name(a, b) for a, b in ((p.subj, h.subj), (p.obj, h.obj), (p.to, h.to))):
        return True
    if _name_and_sex(p.subj, h.subj) or _vague_subjects(p.subj, h.subj) or _vague_objects(p.obj, h.obj):
        return True
    if h.kind == "adjective" and _described(p, h):
        return True
    same = p.subj == h.subj or _related(p.subj, h.subj) or bool(set(members(p.subj)) & set(members(h.subj)))
    if same and _suggestive(p, h):
        return True
    if p.time != h.time and "every_day" in (p.time, h.time) and None not in (p.time, h.time):
        return True  # every day: on Monday too
    negative = (p.neg or p.subj.det == "no") != (h.neg or h.subj.det == "no")
    if same and p.place and h.place and not times_apart(p.time, h.time):
        nested = place_within(p.place, h.place) or place_within(h.place, p.place)
        return not nested and not (negative and disjoint_places(p.place, h.place))
    return False


def _suggestive(p: Clause, h: Clause) -> bool:
    """Of one individual, readers conclude from `p` about `h` although nothing follows."""
    if p.kind == h.kind == "isa":
        return not p.neg  # one profession or two?
    if "isa" in (p.kind, h.kind):
        return True
    if p.kind == h.kind == "adjective":
        return all("colour" in concepts()["adjectives"][c.pred] for c in (p, h)) and not p.neg
    if "adjective" in (p.kind, h.kind):
        adjective, other = (p, h) if p.kind == "adjective" else (h, p)
        return adjective.pred in MOODS and other.kind == "verb"
    if p.kind != h.kind or p.kind != "verb" or verb_of(p) == verb_of(h):
        return False
    for group in (ACQUAINTED, HANDED):
        if verb_of(p) in group and verb_of(h) in group and p.obj == h.obj:
            return True
    if concepts()["verbs"][p.pred].get("antonym") == h.pred:
        return False  # she may love the one and hate the other
    if verb_of(h) in meaning.excludes(verb_of(p)):
        return not p.neg and not times_apart(p.time, h.time)  # sleeps and works: perhaps not at the same time
    return False


def _described(p: Clause, h: Clause) -> bool:
    """`p` calls something red or not red that `h` is about: whether that is said or taken for granted is moot."""
    table = concepts()["adjectives"]
    for np in (p.subj, p.obj):
        if np and np.kind == "noun" and np.adj and np.head == h.subj.head:
            colours = "colour" in table[np.adj] and "colour" in table[h.pred]
            if h.pred in (np.adj, table[np.adj].get("antonym")) or colours:
                return True
    return False


def _vague_subjects(a: NP, b: NP) -> bool:
    if not _related(a, b) or a == b:
        return False
    dets = {a.det, b.det}
    indefinite = dets & {"a", "some", "two", "three"}
    if (indefinite and "the" in dets) or (len(dets) == 2 and dets <= {"two", "three", "a"}):
        return True
    if a.det == "every" and b.det in meaning.PLURAL:
        return True
    return a.adj != b.adj


def _vague_objects(a: NP | None, b: NP | None) -> bool:
    if not _related(a, b) or a == b:
        return False
    dets = {a.det, b.det}
    return a.adj != b.adj or (len(dets) == 2 and dets != {"the", "a"}) or (a.head == b.head and dets == {"the", "a"})


def _individuals(np: NP | None) -> tuple[NP, ...]:
    return (np.head, np.adj) if np and np.kind == "and" else ((np,) if np else ())


def same_name(a: NP | None, b: NP | None) -> bool:
    """Anna and Anna Weber: the same woman or not?"""
    return any(
        x.kind == y.kind == "person" and x.head == y.head and x != y for x in _individuals(a) for y in _individuals(b)
    )


def _name_and_sex(a: NP, b: NP) -> bool:
    """Anna and a woman: readers infer more from a name than `types` knows."""
    pairs = [(x, y) for x in _individuals(a) for y in _individuals(b)]
    return any(
        x.kind == "person" and y.kind == "noun" and y.det != "the" and y.head not in ("person", "animal")
        for one, other in pairs
        for x, y in ((one, other), (other, one))
    )
