"""Draws meanings of one split, never the same one twice, and knows when there are no more."""

from __future__ import annotations

from collections.abc import Callable

from xstilts.embedded import meaning
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause, noun
from xstilts.embedded.rng import Rng
from xstilts.errors import UserError

TRIES = 3000


class Sampler:
    """Meanings of one split. `names`: persons, cities and organisations with names occur."""

    def __init__(self, rng: Rng, split: str, names: bool = True):
        self.rng = rng
        self.split = split
        self.names = names
        self.first_names = list(concepts()["first_names"])
        self.surnames = list(concepts()["surnames"])
        self.organisations = list(concepts()["organisations"])
        self.people = meaning.leaves("person")
        self.things = meaning.leaves("thing")

    def name(self) -> NP:
        """A person: first name, half of the time with surname."""
        surname = self.rng.choice(self.surnames) if self.rng.chance(0.5) else None
        return NP("person", None, self.rng.choice(self.first_names), surname)

    def described(self, det: str, head: str, probability: float) -> NP:
        """A noun, sometimes with an adjective (only after `the` and `a`)."""
        adjectives = meaning.adjectives(head)
        if det in ("the", "a") and adjectives and self.rng.chance(probability):
            return noun(det, head, self.rng.choice(adjectives))
        return noun(det, head)

    def subject(self, heads: tuple[str, ...], dets: tuple[str, ...]) -> NP:
        """A subject out of these basic nouns, or a person's name where people are among them."""
        if self.names and self.rng.chance(0.4) and any(head in self.people for head in heads):
            return self.name()
        return self.described(self.rng.choice(dets), self.rng.choice(heads), 0.1)

    def verb_clause(self, dets: tuple[str, ...] = ("the",), obj_dets: tuple[str, ...] = ("the",), **fixed) -> Clause:
        """A positive verb clause; `fixed` may give `pred`, `place`, `time`, or `subj`."""
        rng = self.rng
        verb = fixed.get("pred") or rng.choice(meaning.verbs(rng.chance(0.6)))
        frame = concepts()["verbs"][verb]
        subj = fixed.get("subj")
        if subj is None:
            if self.names and "company" in frame["subject"] and rng.chance(0.4):
                subj = NP("org", None, rng.choice(self.organisations))
            else:
                subj = self.subject(meaning.doers(verb), dets)
        obj = None
        choices = meaning.objects(verb)
        if choices:
            head = rng.choice(choices)
            while head == subj.head:
                head = rng.choice(choices)
            obj = self.described(rng.choice(obj_dets), head, 0.25)
            if self.names and obj.head in self.people and subj.kind != "person" and rng.chance(0.5):
                obj = self.name()
        spots = meaning.places("city") if subj.kind == "org" else meaning.places_for(verb, self.names)
        place = rng.choice(spots) if spots and rng.chance(0.65) else None
        time = rng.choice(concepts()["times"]) if frame.get("time", True) and rng.chance(0.5) else None
        if obj is None and place is None and time is None:
            place = rng.choice(spots)
        return Clause("verb", subj, verb, obj, fixed.get("place", place), fixed.get("time", time))

    def at_clause(self, dets: tuple[str, ...] = ("the",)) -> Clause:
        """Somebody or an animal is in a place."""
        rng = self.rng
        subj = self.subject(meaning.leaves("person") + meaning.leaves("animal"), dets)
        time = rng.choice(concepts()["times"]) if rng.chance(0.6) else None
        return Clause("at", subj, place=rng.choice(meaning.places_for(None, self.names)), time=time)

    def adjective_clause(self) -> Clause:
        """The X is A."""
        rng = self.rng
        people = self.people + meaning.leaves("animal")
        head = rng.choice(people if rng.chance(0.5) else self.things)
        while not meaning.adjectives(head):
            head = rng.choice(self.things)
        if self.names and head in self.people and rng.chance(0.5):
            subj = self.name()
        else:
            subj = noun("the", head)
        return Clause("adjective", subj, rng.choice(meaning.adjectives(head)))

    def conjoined(self, clause: Clause) -> Clause:
        """The same with "X and Y" as subject."""
        heads = tuple(head for head in meaning.doers(clause.pred) if head != clause.subj.head)
        other = self.subject(heads, ("the",))
        if other.kind == clause.subj.kind == "person" and (
            other.head == clause.subj.head or other.adj or clause.subj.adj
        ):
            return clause  # "Anna and Paul Weber": is she a Weber too?
        return clause._replace(subj=NP("and", None, clause.subj, other))

    def clause(self) -> Clause:
        """Any clause: the mix used wherever a single sentence is wanted."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.12:
            clause = self.at_clause()
        elif kind < 0.25:
            clause = self.adjective_clause()
        else:
            dets = ("the", "the", "a", "two", "three", "some", "every", "no")
            clause = self.verb_clause(dets)
            free = clause.subj.det in (None, "the")
            if free and clause.obj is not None and clause.obj.kind == "noun" and rng.chance(0.5):
                obj = self.described(rng.choice(("a", "two", "three", "some")), clause.obj.head, 0.2)
                return clause._replace(obj=obj)
            if free and clause.subj.kind != "org" and rng.chance(0.12):
                return self.conjoined(clause)
        definite = clause.subj.kind != "noun" or clause.subj.det == "the"
        negative = definite and rng.chance(0.2)
        if clause.time == "every_day" and (negative or clause.subj.det == "no"):
            clause = clause._replace(time="today")  # "does not laugh every day" reads two ways
        return clause._replace(neg=negative)

    def own(self, draw: Callable[[], Clause]) -> Clause:
        """Draw until the meaning belongs to this split."""
        while True:
            clause = draw()
            if meaning.split_of(clause) == self.split:
                return clause


def distinct(n: int, draw: Callable[[int], tuple | None], what: str, split: str) -> list:
    """`n` drawn items with different first elements (their identity). `draw(i)` returns (identity, item) or None.

    `UserError` with the number found when TRIES draws in a row bring nothing new.
    """
    seen: set = set()
    items: list = []
    idle = 0
    while len(items) < n:
        drawn = draw(len(items))
        if drawn is None or drawn[0] in seen:
            idle += 1
            if idle >= TRIES:
                raise UserError(
                    f"embedded {what}, split {split}: {n} examples asked for, but only {len(items)} different ones "
                    f"were found ({TRIES} draws in a row brought no new one); ask for at most {len(items)}"
                )
            continue
        idle = 0
        seen.add(drawn[0])
        items.append(drawn[1])
    return items
