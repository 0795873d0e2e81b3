"""Draws meanings of one split, never the same one twice, and knows when there are no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from xstilts.embedded import meaning
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause, noun
from xstilts.embedded.rng import Rng, stable_hash
from xstilts.errors import UserError

TRIES = 3000


class Sampler:
    """Meanings of one split. `names`: persons, cities and organisations with names occur."""

    def __init__(self, rng: Rng, split: str, names: bool = True):
        self.rng = rng
        self.split = split
        self.names = names
        self.first_names = tuple(concepts()["first_names"])
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

    def verb(self) -> str:
        """Any verb with a frame of its own: a third without object, one in eight with a recipient."""
        kind = self.rng.random()
        valency = "intransitive" if kind < 0.35 else ("transitive" if kind < 0.87 else "ditransitive")
        return self.rng.choice(meaning.verbs(valency))

    def tense_and_time(self, verb: str | None, probability: float, tense: str | None = None) -> tuple[str, str | None]:
        """One clause in five is in the future where the verb allows; a time that goes with the tense, or None."""
        if verb and not concepts()["verbs"][verb].get("time", True):
            return "present", None
        tense = tense or ("future" if self.rng.chance(0.2) else "present")
        return tense, self.rng.choice(meaning.times(tense)) if self.rng.chance(probability) else None

    def verb_clause(self, dets: tuple[str, ...] = ("the",), obj_dets: tuple[str, ...] = ("the",), **fixed) -> Clause:
        """A positive verb clause; `fixed` may give `pred`, `subj`, `place`, `tense`, `time` (with its tense)."""
        rng = self.rng
        verb = fixed.get("pred") or self.verb()
        frame = concepts()["verbs"][verb]
        subj = fixed.get("subj")
        if subj is None:
            if self.names and "company" in frame["subject"] and rng.chance(0.4):
                subj = NP("org", None, rng.choice(self.organisations))
            else:
                subj = self.subject(meaning.doers(verb), dets)
        obj = to = None
        choices = meaning.objects(verb)
        if choices:
            head = rng.choice(choices)
            while head == subj.head:
                head = rng.choice(choices)
            obj = self.described(rng.choice(obj_dets), head, 0.25)
            if self.names and obj.head in self.people and subj.kind != "person" and rng.chance(0.5):
                obj = self.name()
        if "recipient" in frame:
            to = self.recipient(subj)
        spots = meaning.places("city") if subj.kind == "org" else meaning.places_for(verb, self.names)
        place = rng.choice(spots) if spots and rng.chance(0.65) else None
        tense, time = self.tense_and_time(verb, 0.5, fixed.get("tense"))
        if obj is None and place is None and time is None:
            place = rng.choice(spots)
        given = {"place": place, "time": time, "tense": tense} | fixed
        return Clause("verb", subj, verb, obj, given["place"], given["time"], to=to, tense=given["tense"])

    def recipient(self, subj: NP) -> NP:
        """Somebody else than the subject: a name or `the` person."""
        while True:
            other = self.subject(self.people, ("the",))
            if other.head != subj.head:
                return other

    def at_clause(self, dets: tuple[str, ...] = ("the",)) -> Clause:
        """Somebody or an animal is in a place."""
        subj = self.subject(meaning.leaves("person") + meaning.leaves("animal"), dets)
        tense, time = self.tense_and_time(None, 0.6)
        place = self.rng.choice(meaning.places_for(None, self.names))
        return Clause("at", subj, place=place, time=time, tense=tense)

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

    def isa_clause(self) -> Clause:
        """Anna is a doctor."""
        subj = self.name() if self.names else noun("the", self.rng.choice(("woman", "man")))
        return Clause("isa", subj, self.rng.choice(tuple(concepts()["professions"])))

    def report_clause(self) -> Clause:
        """Anna says that the teacher sings in the park: a plain clause about somebody else, inside a report."""
        subj = self.subject(self.people, ("the",))._replace(adj=None)
        verb = self.rng.choice(meaning.verbs("report"))
        while True:
            that = self.plain_clause()
            if that.subj.kind in ("person", "noun") and that.subj.head != subj.head and that.tense == "present":
                return Clause("report", subj, verb, that=that)

    def plain_clause(self) -> Clause:
        """A clause about one definite individual without relative or reported clause; one in five is negative."""
        kind = self.rng.random()
        if kind < 0.2:
            clause = self.at_clause()
        elif kind < 0.35:
            clause = self.adjective_clause()
        else:
            clause = self.verb_clause()
        negative = self.rng.chance(0.2) and clause.time != "every_day"
        return clause._replace(neg=negative)

    def relative(self, head: str, verb: str) -> Clause | None:
        """What "the <head> who ..." does beside `verb`; None where there is nothing."""
        rng = self.rng
        valency = "intransitive" if rng.chance(0.6) else "transitive"
        verbs = [v for v in meaning.verbs_for(head, valency) if v != verb and v not in meaning.excludes(verb)]
        if not verbs:
            return None
        pred = rng.choice(verbs)
        heads = [x for x in meaning.objects(pred) if x != head]
        obj = noun("the", rng.choice(heads)) if heads else None
        spots = meaning.places_for(pred, False)
        place = rng.choice(spots) if spots and (obj is None or rng.chance(0.3)) else None
        return Clause("verb", meaning.GAP, pred, obj, place)

    def conjoined(self, clause: Clause) -> Clause:
        """The same with "X and Y" as subject."""
        taken = {np.head for np in (clause.subj, clause.obj, clause.to) if np}
        heads = tuple(head for head in meaning.doers(clause.pred) if head not in taken)
        if not heads:
            return clause
        other = self.subject(heads, ("the",))
        if other.head in taken or (other.kind == clause.subj.kind == "person" and (other.adj or clause.subj.adj)):
            return clause  # "Anna and Paul Weber": is she a Weber too?
        return clause._replace(subj=NP("and", None, clause.subj, other))

    def clause(self) -> Clause:
        """Any clause: the mix used wherever a single sentence is wanted."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.06:
            return self.report_clause()
        if kind < 0.17:
            clause = self.at_clause()
        elif kind < 0.28:
            clause = self.adjective_clause()
        elif kind < 0.33:
            clause = self.isa_clause()
        else:
            dets = ("the", "the", "a", "two", "three", "some", "every", "no")
            clause = self.verb_clause(dets)
            free = clause.subj.det in (None, "the")
            if free and clause.obj is not None and clause.obj.kind == "noun" and rng.chance(0.5):
                obj = self.described(rng.choice(("a", "two", "three", "some")), clause.obj.head, 0.2)
                return clause._replace(obj=obj)
            if free and clause.subj.kind != "org" and rng.chance(0.12):
                return self.conjoined(clause)
            if clause.subj.det in ("the", "a") and clause.subj.adj is None and rng.chance(0.15):
                rel = self.relative(clause.subj.head, clause.pred)
                if rel is not None and rel.place != clause.place and _different(rel.obj, clause.obj):
                    return clause._replace(subj=clause.subj._replace(rel=rel))
        definite = clause.subj.kind != "noun" or clause.subj.det == "the"
        negative = definite and rng.chance(0.2)
        if clause.time == "every_day" and (negative or clause.subj.det == "no"):
            clause = clause._replace(time="today")  # "does not laugh every day" reads two ways
        return clause._replace(neg=negative)

    def own(self, draw: Callable[[], Clause | None]) -> Clause:
        """Draw until the meaning belongs to this split; see `moved`."""
        while True:
            clause = draw()
            clause = clause and self.moved(clause)
            if clause is not None:
                return clause

    def moved(self, clause: Clause) -> Clause | None:
        """The clause if it belongs to this split, else the same about somebody else that does, else None.

        Finding somebody else costs no draw and leaves the mix of clauses as it is in every split.
        """
        number = meaning.bucket(clause)
        if meaning.split_of_bucket(number) == self.split:
            return clause
        moving = meaning.mover(clause.subj)
        heads = self._who_else(clause, moving) if moving else ()
        if not heads:
            return None
        rest = number - meaning.shift(moving.head)
        others = (
            clause.obj,
            clause.to,
            clause.that and clause.that.subj,
            clause.subj.kind == "and" and clause.subj.adj,
        )
        taken = {np.head for np in others if np}
        start = self.rng.below(len(heads))
        for head in (*heads[start:], *heads[:start]):
            fits = meaning.split_of_bucket((rest + meaning.shift(head)) % meaning.BUCKETS) == self.split
            if fits and head not in taken and not (moving.det in ("two", "three") and head in ("person", "child")):
                return clause._replace(subj=meaning.with_mover(clause.subj, head))
        return None

    def _who_else(self, clause: Clause, moving: NP) -> tuple[str, ...]:
        """Heads of subjects of which the clause could as well be true."""
        if moving.kind == "person":
            return self.first_names
        if clause.kind == "adjective":
            return adjective_heads(clause.pred)
        if clause.kind == "at":
            heads = meaning.leaves("person") + meaning.leaves("animal")
        elif clause.kind in ("verb", "report"):
            heads = meaning.doers(clause.pred)
        else:
            return ()
        if moving.adj:
            heads = tuple(head for head in heads if moving.adj in meaning.adjectives(head))
        if moving.rel:
            rel = moving.rel
            doing = meaning.doers(rel.pred)
            heads = tuple(head for head in heads if head in doing and (not rel.obj or rel.obj.head != head))
        return heads


@cache
def adjective_heads(adjective: str) -> tuple[str, ...]:
    """Basic nouns that the adjective is said of."""
    heads = meaning.leaves("person") + meaning.leaves("animal") + meaning.leaves("thing")
    return tuple(head for head in heads if adjective in meaning.adjectives(head))


def _different(a: NP | None, b: NP | None) -> bool:
    return a is None or b is None or a.head != b.head


def distinct(n: int | None, draw: Callable[[int], tuple | None], what: str, split: str) -> Iterator:
    """`n` drawn items (None: without end) with different first elements, their identity. `draw(i)` returns
    (identity, item) or None.

    `UserError` with the number found when TRIES draws in a row bring nothing new.
    """
    seen: set[int] = set()
    idle = 0
    while n is None or len(seen) < n:
        drawn = draw(len(seen))
        key = None if drawn is None else stable_hash(drawn[0])  # 64 bits an item, however long the stream
        if key is None or key in seen:
            idle += 1
            if idle >= TRIES:
                raise UserError(
                    f"embedded {what}, split {split}: {n or 'more'} examples asked for, but only {len(seen)} different "
                    f"ones were found ({TRIES} draws in a row brought no new one); ask for at most {len(seen)}"
                )
            continue
        idle = 0
        seen.add(key)
        yield drawn[1]
