"""Which label a premise gives to a hypothesis: decided from the meanings, never from how the pair was made.

Readings: `the X` and names denote one individual; `a`, `some` (two or more), `two`, `three` are existential and "at
least"; `every X` implies that there is one, and holds of `the X`; `no X` denies `a X`. Times are existential: who sings
on Monday morning sings on Monday. Clauses of different tenses are not compared. What somebody knows is true; what is
said or believed may be.
"""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.embedded import meaning
from xstilts.embedded.implication import exclusive, is_point, is_there, verb_of, within
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause, noun, types
from xstilts.embedded.vagueness import members, same_name, specific, vague

ENTAILMENT, NEUTRAL, CONTRADICTION = "entailment", "neutral", "contradiction"


def relation(p: Clause | Sequence[Clause], h: Clause) -> str | None:
    """Label of (premise, hypothesis); None where speakers could disagree: such a pair is not to be used.

    p: a clause, or several that are all said.
    """
    premises = (p,) if isinstance(p, Clause) else tuple(p)
    labels = [_one(premise, h) for premise in premises]
    decided = {label for label in labels if label in (ENTAILMENT, CONTRADICTION)}
    if len(decided) == 1:
        return decided.pop()
    if decided or None in labels or (len(premises) > 1 and _jointly(premises, h)):
        return None
    return NEUTRAL


def _jointly(premises: tuple[Clause, ...], h: Clause) -> bool:
    """Together the premises may say more than each: Anna and Paul sing, so people sing; every singer and Anna."""
    said = [fact for premise in premises for fact in _facts(premise)]
    many = [np for np in (h.subj, h.obj) if np and (np.kind == "and" or np.det in meaning.PLURAL)]
    if many and sum(c.kind == h.kind and verb_of(c) == verb_of(h) for c in said) > 1:
        return True
    isa = [c for c in said if c.kind == "isa"]
    if isa and (len(isa) < len(said) or h.kind != "isa"):
        return True
    described = [np.head for np in (h.subj, h.obj) if np and np.kind == "noun" and np.adj]
    return any(c.kind == "adjective" and c.subj.head in described for c in said)


def _plain(c: Clause) -> Clause:
    return c._replace(subj=c.subj._replace(rel=None)) if c.subj.kind == "noun" and c.subj.rel else c


def _content(c: Clause) -> Clause | None:
    """What a relative clause says of its noun, as a clause."""
    return c.subj.rel._replace(subj=c.subj._replace(rel=None)) if c.subj.kind == "noun" and c.subj.rel else None


def _factive(c: Clause) -> bool:
    return c.kind == "report" and bool(concepts()["verbs"][c.pred].get("factive"))


def _facts(c: Clause) -> list[Clause]:
    """What the clause says: itself without relative clause, that clause, what is known."""
    facts = [_plain(c)]
    rel = _content(c)
    if rel is not None and c.subj.det in ("the", "a"):
        facts.append(rel)
    if _factive(c):
        facts += _facts(c.that)
    return facts


def _being_there(c: Clause) -> Clause | None:
    """Who sings in the park is in the park."""
    if c.kind != "verb" or c.neg or c.subj.det == "no" or not is_there(c):
        return None
    return Clause("at", c.subj, place=c.place, time=c.time, tense=c.tense)


def _one(p: Clause, h: Clause) -> str | None:
    """`relation` of one clause."""
    if p == h:
        return ENTAILMENT
    rel = _content(h)
    if rel is not None:
        return _with_relative(p, h, rel)
    if h.kind == "report":
        return _of_report(p, h)
    labels = [_of_fact(fact, h) for fact in _facts(p) if fact.kind != "report"]
    if ENTAILMENT in labels:
        return ENTAILMENT
    if CONTRADICTION in labels:
        return CONTRADICTION
    if None in labels or (p.kind == "report" and not _factive(p) and _one(p.that, h) is None):
        return None
    return NEUTRAL


def _of_fact(p: Clause, h: Clause) -> str | None:
    """`_simple`, or what follows from where the doer is."""
    label = _simple(p, h)
    if label in (ENTAILMENT, CONTRADICTION) or {p.kind, h.kind} != {"verb", "at"}:
        return label
    deed = p if p.kind == "verb" else h
    there = _being_there(deed._replace(neg=False))
    if there is None:
        return label
    if deed is h:
        # not being there denies every deed there; being there implies none
        other = _simple(p, there._replace(neg=h.neg))
        if other == (CONTRADICTION if h.neg else ENTAILMENT):
            other = NEUTRAL
    else:
        other = NEUTRAL if p.neg else _simple(there, h)
    if other in (ENTAILMENT, CONTRADICTION):
        # "sings in the park" may be a habit: being elsewhere denies it only of the same moment
        same_place = within(there, (p if deed is h else h)._replace(subj=there.subj)) or within(
            (p if deed is h else h)._replace(subj=there.subj), there)  # fmt: skip
        return other if same_place or is_point(there.time) else None
    return label if other == NEUTRAL else None


def _with_relative(p: Clause, h: Clause, rel: Clause) -> str | None:
    """`the X who...`: both the clause and what is said of X must follow."""
    labels = [_one(p, _plain(h)), _one(p, rel)]
    if CONTRADICTION in labels and h.subj.det == "the":
        return CONTRADICTION
    if labels == [ENTAILMENT, ENTAILMENT]:
        return ENTAILMENT if h.subj.det == "the" else None  # one singer who dances, or a singer and a dancer?
    if None in labels or CONTRADICTION in labels:
        return None
    return NEUTRAL


def _of_report(p: Clause, h: Clause) -> str | None:
    """The hypothesis is that somebody says, believes or knows something."""
    if _factive(h):
        label = _one(p, h.that)
        if label == CONTRADICTION:
            return CONTRADICTION
        if label is None:
            return None
    if p.kind != "report":
        return NEUTRAL
    if same_name(p.subj, h.subj):
        return None
    if p.subj != h.subj:
        return NEUTRAL
    if p.pred == h.pred and _shortened(p.that, h.that):
        return None if p.pred == "say" else ENTAILMENT  # saying the whole is not quite saying the part
    labels = (_one(p.that, h.that), _one(h.that, p.that))
    return NEUTRAL if labels == (NEUTRAL, NEUTRAL) else None


def _shortened(p: Clause, h: Clause) -> bool:
    """`h` is `p` without its place or its time, which everybody who thinks the one thinks too."""
    return not p.neg and p._replace(place=h.place, time=h.time) == h and h.place in (None, p.place) and h.time in (
        None, p.time)  # fmt: skip


def _simple(p: Clause, h: Clause) -> str | None:
    """Neither clause has a relative or reported one."""
    if p == h:
        return ENTAILMENT
    if p.tense != h.tense:
        label = _simple(p, _in_tense(h, p.tense))
        return NEUTRAL if label == NEUTRAL else None
    p_no, h_no = p.subj.det == "no", h.subj.det == "no"
    p_neg, h_neg = p.neg or p_no, h.neg or h_no
    if p_neg and h_neg:
        return ENTAILMENT if _denies(p, h) else _neutral(p, h)
    if not p_neg and not h_neg:
        if _subject_implies(p.subj, h.subj) and within(p, h):
            return ENTAILMENT
        if _holds_of(p, h) and exclusive(p, h):
            return CONTRADICTION
        return _neutral(p, h)
    positive, negative = (h, p) if p_neg else (p, h)
    if _affirms_denied(positive, negative):
        return CONTRADICTION
    if not p_neg and not h_no and _holds_of(p, h) and _excluded(p, h):
        return ENTAILMENT
    if p.neg and p.subj == h.subj and within(p, h):
        return None  # "does not sing in the park" suggests, and does not say, that she sings
    return _neutral(p, h)


def _in_tense(c: Clause, tense: str) -> Clause:
    return c._replace(tense=tense)


def _excluded(p: Clause, h: Clause) -> bool:
    """`p` is incompatible with what `h` denies, as she who sleeps now does not dance now."""
    return exclusive(p, h._replace(neg=False))


def _holds_of(p: Clause, h: Clause) -> bool:
    """What `p` says of its subject it says of the one individual that `h` is about."""
    if not specific(h.subj):
        return False
    return p.subj == h.subj or (p.subj.kind == "and" and h.subj in members(p.subj)) or (
        p.subj.det == "every" and _subject_implies(p.subj, h.subj))  # fmt: skip


def _subject_implies(p: NP, h: NP) -> bool:
    """`p` are B implies `h` are B, both upward readings."""
    if p == h:
        return True
    if members(h):
        if members(p):
            return set(members(h)) <= set(members(p))
        return p.det == "every" and all(p.head in types(m) and not (m.kind == "noun" and m.adj) for m in members(h))
    if h.det == "every":
        return p.det == "every" and p.head in types(h)
    if h.adj and h.adj != p.adj:
        return False
    shared = [types(member) for member in members(p)] or [types(p)]
    if h.det == "a":
        return any(h.head in kind for kind in shared)
    if h.det == "some":
        if p.kind == "and":
            return all(h.head in kind for kind in shared)
        return p.det in meaning.PLURAL and h.head in types(p)
    return h.det == "two" and p.det == "three" and h.head in types(p)


def _denies(p: Clause, h: Clause) -> bool:
    """Both negative: `p` denies at least what `h` denies."""
    if not within(h, p):
        return False
    if p.subj.det == "no":
        if h.subj.det == "no":
            return p.subj.head in types(h.subj)
        return all(p.subj.head in types(member) for member in members(h.subj))
    if h.subj.det == "no":
        return False
    return set(members(h.subj)) <= set(members(p.subj))


def _affirms_denied(positive: Clause, negative: Clause) -> bool:
    """`positive` asserts something that `negative` denies."""
    if not within(positive, negative):
        return False
    if negative.subj.det == "no":
        return _subject_implies(positive.subj, noun("a", negative.subj.head))
    if negative.subj.kind == "and" or positive.subj.kind == "and":
        return bool(set(members(positive.subj)) & set(members(negative.subj)))
    return _subject_implies(positive.subj, negative.subj)


def _neutral(p: Clause, h: Clause) -> str | None:
    return None if vague(p, h) else NEUTRAL
