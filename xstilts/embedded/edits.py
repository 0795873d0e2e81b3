"""Small changes of a clause: they make hypotheses, near duplicates and false answers. Labels: see `inference`."""

from __future__ import annotations

from xstilts.embedded import meaning
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause, noun
from xstilts.embedded.sampling import Sampler


def _hypernyms(np: NP | None) -> tuple[str, ...]:
    return () if np is None or np.kind == "and" else tuple(t for t in meaning.types(np) if t != np.head)


def valid(clause: Clause) -> bool:
    """Inside the fragment that every grammar renders well and `inference` understands."""
    subj, obj = clause.subj, clause.obj
    if clause.kind == "report":
        return not clause.neg and subj.head != clause.that.subj.head and valid(clause.that)
    if clause.kind == "verb" and not concepts()["verbs"][clause.pred].get("time", True) and clause.time:
        return False
    if clause.time and clause.time not in meaning.times(clause.tense):
        return False
    if clause.to is not None and clause.to.head in (subj.head, clause.obj and clause.obj.head):
        return False
    if obj is not None and subj.head == obj.head and (subj.kind == "person" or subj.det == "the"):
        return False  # the girl and another girl?
    if clause.neg and not (subj.kind != "noun" or subj.det == "the"):
        return False
    if (clause.neg or subj.det in ("no", "every")) and obj and obj.kind == "noun" and obj.det != "the":
        return False
    if clause.time == "every_day" and (clause.neg or subj.det == "no"):
        return False  # "does not laugh every day" reads two ways
    if obj and obj.det in ("every", "no"):
        return False
    for np in (*((subj.head, subj.adj) if subj.kind == "and" else (subj,)), obj):
        if np and np.kind == "noun":
            if np.det in ("two", "three") and np.head in ("person", "child"):
                return False
            if np.adj and np.det not in ("the", "a"):
                return False
            if np.det == "the" and np.head not in meaning.leaves(np.head):
                return False
    if clause.kind == "adjective" and subj.kind == "noun" and subj.det != "the":
        return False
    if clause.kind == "at" and subj.det == "no":
        return False  # Russian has a construction of its own
    return subj.kind != "and" or (subj.head != subj.adj and clause.kind == "verb")


def drop_place(c: Clause, s: Sampler) -> Clause | None:
    """Without the place."""
    return c._replace(place=None) if c.place and c.kind == "verb" else None


def drop_time(c: Clause, s: Sampler) -> Clause | None:
    """Without the time."""
    return c._replace(time=None) if c.time else None


def add_place(c: Clause, s: Sampler) -> Clause | None:
    """With a place."""
    spots = _spots(c, s)
    return c._replace(place=s.rng.choice(spots)) if not c.place and spots and c.kind == "verb" else None


def add_time(c: Clause, s: Sampler) -> Clause | None:
    """With a time."""
    return c._replace(time=s.rng.choice(meaning.times(c.tense))) if not c.time and c.kind in ("verb", "at") else None


def wider_place(c: Clause, s: Sampler) -> Clause | None:
    """The place that contains it."""
    around = meaning.containers(c.place) if c.place else ()
    return c._replace(place=s.rng.choice(around)) if around else None


def narrower_place(c: Clause, s: Sampler) -> Clause | None:
    """A place inside it: Berlin for Germany."""
    inside = [x for x in _spots(c, s) if c.place in meaning.containers(x)] if c.place else []
    return c._replace(place=s.rng.choice(inside)) if inside else None


def wider_time(c: Clause, s: Sampler) -> Clause | None:
    """Monday for Monday morning."""
    around = meaning.wider_times(c.time) if c.time else ()
    return c._replace(time=s.rng.choice(around)) if around else None


def narrower_time(c: Clause, s: Sampler) -> Clause | None:
    """Monday morning for Monday."""
    inside = [x for x in meaning.times(c.tense) if c.time in meaning.wider_times(x)] if c.time else []
    return c._replace(time=s.rng.choice(inside)) if inside else None


def other_place(c: Clause, s: Sampler) -> Clause | None:
    """Another place."""
    spots = _spots(c, s)
    return c._replace(place=s.rng.choice(spots)) if c.place and spots else None


def other_time(c: Clause, s: Sampler) -> Clause | None:
    """Another time."""
    return c._replace(time=s.rng.choice(meaning.times(c.tense))) if c.time else None


def _spots(c: Clause, s: Sampler) -> tuple[str, ...]:
    if c.kind not in ("verb", "at"):
        return ()
    if c.subj.kind == "org":
        return meaning.places("city")
    return meaning.places_for(c.pred if c.kind == "verb" else None, s.names)


def wider_subject(c: Clause, s: Sampler) -> Clause | None:
    """`the dog` becomes `an animal`; quantifiers stay where they can."""
    above = _hypernyms(c.subj)
    if not above or c.kind not in ("verb", "at"):
        return None
    det = c.subj.det if c.subj.det in ("some", "no", "every") else "a"
    return c._replace(subj=noun(det, s.rng.choice(above)), neg=False)


def wider_object(c: Clause, s: Sampler) -> Clause | None:
    """`the apple` becomes `a fruit`."""
    above = _hypernyms(c.obj)
    if not above:
        return None
    return c._replace(obj=noun("some" if c.obj.det in meaning.PLURAL else "a", s.rng.choice(above)))


def specific_subject(c: Clause, s: Sampler) -> Clause | None:
    """`an animal` becomes `the dog`, `a person` perhaps Anna."""
    if c.subj.kind != "noun" or c.subj.det != "a" or c.subj.adj or c.kind not in ("verb", "at"):
        return None
    below = [leaf for leaf in meaning.leaves(c.subj.head) if c.kind != "verb" or leaf in meaning.subjects(c.pred)]
    if c.subj.head == "person" and s.names and s.rng.chance(0.4):
        return c._replace(subj=s.name())
    return c._replace(subj=noun("the", s.rng.choice(below))) if below else None


def specific_object(c: Clause, s: Sampler) -> Clause | None:
    """`a fruit` becomes `the apple`."""
    if c.obj is None or c.obj.kind != "noun" or c.obj.det != "a" or c.obj.adj:
        return None
    below = [leaf for leaf in meaning.leaves(c.obj.head) if leaf in meaning.objects(c.pred)]
    return c._replace(obj=noun("the", s.rng.choice(below))) if below else None


def narrower_subject(c: Clause, s: Sampler) -> Clause | None:
    """`no animal` becomes `the dog` or `no dog`."""
    if c.subj.kind != "noun" or c.subj.det not in ("no", "every"):
        return None
    below = [leaf for leaf in meaning.leaves(c.subj.head) if c.kind != "verb" or leaf in meaning.subjects(c.pred)]
    if not below:
        return None
    if c.subj.det == "no" and s.rng.chance(0.5):
        return c._replace(subj=noun("the", s.rng.choice(below)), neg=True)
    return c._replace(subj=noun(s.rng.choice(("the", c.subj.det)), s.rng.choice(below)), neg=False)


def requantify(c: Clause, s: Sampler) -> Clause | None:
    """Another quantifier on the subject or the object."""
    if c.obj and c.obj.kind == "noun" and s.rng.chance(0.4):
        return c._replace(obj=noun(s.rng.choice(("the", "a", "some", "two", "three")), c.obj.head))
    if c.subj.kind != "noun" or c.neg or c.kind not in ("verb", "at"):
        return None
    return c._replace(subj=noun(s.rng.choice(("the", "a", "some", "two", "every")), c.subj.head))


def other_subject(c: Clause, s: Sampler) -> Clause | None:
    """Somebody else, with the same determiner."""
    if c.kind == "verb":
        heads = meaning.doers(c.pred)
    else:
        heads = meaning.leaves("person") + meaning.leaves("animal")
    if c.kind in ("report", "isa"):
        heads = s.people if c.kind == "report" else ("woman", "man")
        return c._replace(subj=s.name() if s.names else noun("the", s.rng.choice(heads)))
    if c.subj.kind == "org":
        return c._replace(subj=NP("org", None, s.rng.choice(s.organisations)))
    if c.kind == "adjective":
        heads = tuple(h for h in (*s.people, *s.things) if c.pred in meaning.adjectives(h))
        return c._replace(subj=noun("the", s.rng.choice(heads))) if heads else None
    return c._replace(subj=s.subject(heads, (c.subj.det or "the",)))


def other_object(c: Clause, s: Sampler) -> Clause | None:
    """Something else, with the same determiner."""
    if not c.obj:
        return None
    return c._replace(obj=noun(c.obj.det or "the", s.rng.choice(meaning.objects(c.pred))))


def other_verb(c: Clause, s: Sampler) -> Clause | None:
    """Another deed of the same subject to the same object."""
    if c.kind != "verb" or c.subj.kind == "and":
        return None
    head = c.subj.head if c.subj.kind == "noun" and c.subj.head in meaning.leaves(c.subj.head) else None
    doer = head or ("company" if c.subj.kind == "org" else "woman")
    verbs = meaning.verbs_for(doer, meaning.valency_of(c.pred))
    if c.obj is not None:
        target = c.obj.head if c.obj.kind == "noun" else "woman"
        verbs = tuple(verb for verb in verbs if target in meaning.objects(verb))
    verbs = tuple(v for v in verbs if not c.place or c.place in meaning.places_for(v, True))
    return c._replace(pred=s.rng.choice(verbs)) if verbs else None


def swap_roles(c: Clause, s: Sampler) -> Clause | None:
    """Subject and object change places where both are people or animals that can do it."""
    if not c.obj or c.subj.kind == "and":
        return None
    if c.subj.rel or (c.subj.kind == "noun" and c.subj.det != c.obj.det and c.obj.kind == "noun"):
        return None
    for np, allowed in ((c.obj, meaning.subjects(c.pred)), (c.subj, meaning.objects(c.pred))):
        if np.kind == "org" or (np.kind == "person" and "woman" not in allowed):
            return None
        if np.kind == "noun" and np.head not in allowed:
            return None
    return c._replace(subj=c.obj, obj=c.subj)


def member(c: Clause, s: Sampler) -> Clause | None:
    """One of `X and Y`."""
    return c._replace(subj=s.rng.choice((c.subj.head, c.subj.adj))) if c.subj.kind == "and" else None


def add_member(c: Clause, s: Sampler) -> Clause | None:
    """`X and Y`."""
    specific = c.subj.kind == "person" or (c.subj.kind == "noun" and c.subj.det == "the")
    return s.conjoined(c) if c.kind == "verb" and specific else None


def negate(c: Clause, s: Sampler) -> Clause | None:
    """Affirm what is denied, deny what is affirmed; `no X` against `a X`, `the X`, `every X`..."""
    if c.subj.kind == "noun" and c.subj.det != "the":
        if c.subj.det == "no":
            return c._replace(subj=noun(s.rng.choice(("the", "a", "some", "every")), c.subj.head))
        return c._replace(subj=noun("no", c.subj.head))
    return c._replace(neg=not c.neg)


def antonym(c: Clause, s: Sampler) -> Clause | None:
    """The opposite property."""
    opposite = concepts()["adjectives"][c.pred].get("antonym") if c.kind == "adjective" else None
    return c._replace(pred=opposite) if opposite else None


def other_adjective(c: Clause, s: Sampler) -> Clause | None:
    """Another property."""
    if c.kind != "adjective":
        return None
    choices = meaning.adjectives("woman" if c.subj.kind == "person" else c.subj.head)
    return c._replace(pred=s.rng.choice(choices))


ALL = (
    drop_place, drop_time, add_place, add_time, wider_place, wider_time, narrower_place, narrower_time, other_place,
    other_time, wider_subject, wider_object, specific_subject, specific_object, narrower_subject, requantify,
    other_subject, other_object, other_verb, swap_roles, member, add_member, negate, antonym, other_adjective,
)  # fmt: skip
# Edits that tend to weaken an affirmation, to strengthen it (that is: weaken its denial), to change it.
WEAKENING = (drop_place, drop_time, wider_place, wider_time, wider_subject, wider_object, requantify, member)
STRENGTHENING = (
    add_place, add_time, narrower_place, narrower_time, specific_subject, specific_object, narrower_subject, add_member,
)  # fmt: skip
# One slot changes and the sentence is no paraphrase: near duplicates and false statements.
REPLACEMENTS = (other_place, other_time, other_subject, other_object, other_verb, swap_roles, other_adjective, antonym)


def replaced(c: Clause, s: Sampler) -> Clause:
    """The clause with one slot replaced by something different of the same kind."""
    while True:
        new = s.rng.choice(REPLACEMENTS)(c, s)
        if new is not None and valid(new) and meaning.skeleton(new) != meaning.skeleton(c):
            return new


def edited(c: Clause, s: Sampler, edits: int, pool: tuple = ALL) -> Clause | None:
    """The clause after that many random edits of the pool; None where one does not apply or leaves the fragment."""
    for _ in range(edits):
        c = s.rng.choice(pool)(c, s)
        if c is None:
            return None
    return c if valid(c) else None
