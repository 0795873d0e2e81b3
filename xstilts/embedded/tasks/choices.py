"""English choice tasks: hellaswag (what comes next) and cosmosqa (what a text says); commonsenseqa has its own module.

Every item is one of a set that has the same choices: for each choice there is a text after which it, and nothing else,
is right, and the one that is written is drawn by equal chance. So neither the choices nor their words in the text
betray the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from xstilts.embedded import edits, meaning
from xstilts.embedded.grammar import Grammar, grammar
from xstilts.embedded.inference import CONTRADICTION, ENTAILMENT, NEUTRAL, relation
from xstilts.embedded.meaning import NP, Clause, noun
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct
from xstilts.embedded.tasks.commonsense import Trait, commonsenseqa, contrast, row, said, traits

ENDS = 4


def _name(g: Grammar, np: NP) -> str:
    """A noun phrase as it stands inside a sentence."""
    return g.text(list(g.noun_phrase(np).tokens))


# ---------------------------------------------------------------- hellaswag
GETS = ("buy", "seek", "wash", "repair", "photograph", "give", "send")  # deeds after which one uses the thing
BEFORE = ("work", "read", "write", "seek", "wash", "repair", "paint", "feed", "greet")  # and then is hungry, tired...
TIMES = (None, "today", "monday", "wednesday", "friday", "sunday", "morning", "evening", "sunday_morning")
THEN = ("Then", "After that,", "A little later,")
DAILY = ("Every day,", "On most days,", "As usual,")
STORIES = (*("things",) * 10, *("places",) * 4, *("roles",) * 3, *("states",) * 3)


@cache
def _told(group: str) -> tuple[Trait, ...]:
    """Traits whose owners all can be in a story: nobody just is in the lake."""
    land = meaning.places_for(None, False)
    return tuple(trait for trait in traits(group) if group != "places" or set(trait.of) <= set(land))


@cache
def _ways(thing: str) -> tuple[str, ...]:
    return tuple(verb for verb in GETS if thing in meaning.objects(verb))


def _gets(s: Sampler, thing: str) -> Clause:
    """Somebody gets the thing, handles it or is given it."""
    verb = s.rng.choice(_ways(thing))

    def draw() -> Clause | None:
        obj = s.described(s.rng.choice(("the", "a", "a")), thing, 0.25)
        subj = s.subject(s.people, ("the",))
        to = s.recipient(subj) if meaning.valency_of(verb) == "ditransitive" else None
        spots = meaning.places_for(verb, True)
        place = s.rng.choice(spots) if spots and s.rng.chance(0.5) else None
        return Clause("verb", subj, verb, obj, place, s.rng.choice(TIMES), to=to)

    return s.own(draw)


def _beginning(s: Sampler, group: str, owner: str) -> Clause:
    """What is known of the person before the next thing happens."""
    rng = s.rng
    if group == "places":
        return s.own(lambda: Clause("at", s.subject(s.people, ("the",)), place=owner, time=rng.choice(TIMES)))
    if group == "roles":
        return s.own(lambda: Clause("isa", s.name(), owner))
    if group == "states":
        verb = rng.choice(BEFORE)
        return s.own(lambda: s.verb_clause(("the",), ("the", "a"), pred=verb, tense="present", time=rng.choice(TIMES)))
    return _gets(s, owner)


def _story(s: Sampler):
    """(facts, who goes on, group, contrast set with the right end first)."""
    rng = s.rng
    group = rng.choice(STORIES)
    picks = contrast(rng, _told(group), ENDS)
    if picks is None:
        return None
    facts = [_beginning(s, group, picks[0][1])]
    who = facts[0].to or facts[0].subj
    if group == "things" and rng.chance(0.5):  # before it, somebody else and the thing of another end
        facts.insert(0, _gets(s, picks[1][1]))
        heads = [np.head for c in facts for np in (c.subj, c.to) if np]
        if len(set(heads)) < len(heads):
            return None
    keys = [trait.key for trait, _ in picks]
    return (tuple(facts), keys[0], tuple(sorted(keys[1:]))), (facts, who, group, picks)


def hellaswag(language: str, split: str, n: int | None, seed: int) -> Iterator[dict]:
    """The beginning of a story and of its next sentence, and four ends."""
    rng = Rng("hellaswag", split, seed)
    s = Sampler(rng, split)
    g = grammar(language)
    for i, (facts, who, group, picks) in enumerate(distinct(n, lambda i: _story(s), "hellaswag", split)):
        sentences = [g.sentence(c) for c in facts]
        if group == "states":
            sentences[-1] = f"{sentences[-1].removesuffix('.')} and is {picks[0][1]}."
        sentences.append(f"{rng.choice(DAILY if group == 'roles' else THEN)} {_name(g, who)}")
        ends = [f"{said(rng.choice(trait.does), True)}." for trait, _ in picks]
        yield row(f"{split}-{i}", g.paragraph(sentences), "", ends[0], ends[1:], i % ENDS)


# ---------------------------------------------------------------- cosmosqa
ABOUT = ("What does the text say about {}?", "What do we learn about {}?", "Which sentence about {} follows?")
HOW = ("verb", "verb", "verb", "mixed", "place", "time", "object", "polarity", "polarity", "polarity")
BEASTS = ("place", "time")
TO_SLOT = {"place": "place", "time": "time", "object": "obj"}
SOMEBODY = noun("the", "person")  # whom the four clauses of an item are about until it is known who that is
TRIES = 8


def _deed(s: Sampler, beasts: bool = False) -> Clause:
    kind = s.rng.random()
    if beasts or kind < 0.12:
        tense, time = s.tense_and_time(None, 0.6)
        return Clause("at", SOMEBODY, place=s.rng.choice(meaning.places_for(None, True)), time=time, tense=tense)
    if kind < 0.22:
        return Clause("adjective", SOMEBODY, s.rng.choice(meaning.adjectives("woman")))
    return s.verb_clause(("the",), ("the", "a"), subj=SOMEBODY)


def _changed(s: Sampler, c: Clause, how: str) -> Clause | None:
    """Another clause that differs in this respect only (verb: altogether)."""
    if how == "verb":
        return _deed(s)
    if how == "place":
        spots = meaning.places_for(c.pred if c.kind == "verb" else None, True)
        return c._replace(place=s.rng.choice(spots)) if c.place else None
    if how == "time":
        return c._replace(time=s.rng.choice(meaning.times(c.tense))) if c.time else None
    heads = meaning.objects(c.pred) if c.kind == "verb" else ()
    return c._replace(obj=noun(c.obj.det or "the", s.rng.choice(heads))) if heads else None


def _deniable(c: Clause) -> Clause:
    """With `the` object; "does not buy a book" reads two ways."""
    return c._replace(obj=c.obj._replace(det="the")) if c.obj and c.obj.kind == "noun" else c


def _four(s: Sampler, how: str, beasts: bool) -> list[Clause] | None:
    """Four clauses none of which says anything of another; with `polarity` two and their denials."""
    rng = s.rng
    first = _deed(s, beasts)
    for _ in range(TRIES):
        if how not in TO_SLOT or getattr(first, TO_SLOT[how]) is not None:
            break
        first = _deed(s, beasts)
    if how == "polarity":
        first = _deniable(first)
        for _ in range(TRIES):
            other = _changed(s, first, rng.choice(("verb", "object")))
            four = other and [first, other := _deniable(other), first._replace(neg=True), other._replace(neg=True)]
            if four and all(_unsaid(a, b) for a in four for b in four if a is not b):
                return rng.shuffled(four)
        return None
    four = [first]
    for _ in range(2 * TRIES):
        c = _changed(s, first, rng.choice(("verb", "place", "time", "object")) if how == "mixed" else how)
        if c is None and how != "mixed":
            return None
        if c is not None and all(_unsaid(a, c) and _unsaid(c, a) for a in four):
            four.append(c)
            if len(four) == ENDS:
                return rng.shuffled(four)
    return None


def _weaker(s: Sampler, c: Clause, others: list[Clause]) -> Clause:
    """Something that follows from the clause and from none of the others; denials stay as they are."""
    if c.neg or s.rng.chance(0.25):
        return c
    options = []
    if c.place and c.kind == "verb":
        options.append(c._replace(place=None))
    if c.time:
        options.append(c._replace(time=None))
    if c.place and meaning.containers(c.place):
        options.append(c._replace(place=s.rng.choice(meaning.containers(c.place))))
    if c.time and meaning.wider_times(c.time):
        options.append(c._replace(time=s.rng.choice(meaning.wider_times(c.time))))
    if c.obj and c.obj.kind == "noun" and len(meaning.ancestors(c.obj.head)) > 1:
        options.append(c._replace(obj=noun("a", s.rng.choice(meaning.ancestors(c.obj.head)[1:]))))
    if c.pred == "buy":
        options.append(c._replace(pred="purchase"))
    new = s.rng.choice(options) if options else c
    alone = new != c and relation(c, new) == ENTAILMENT and all(_unsaid(other, new) for other in others)
    return new if alone else c


def _apart(a: Clause, b: Clause) -> bool:
    """Two affirmed deeds that nobody takes for one: clearly different objects, places or times."""
    if a.kind != b.kind or a.neg or b.neg or a.tense != b.tense or a.kind not in ("verb", "at"):
        return False
    if a.obj and b.obj and a.obj.kind == b.obj.kind and a.obj.head != b.obj.head:
        named = a.obj.kind != "noun"
        if named or (a.obj.head not in meaning.types(b.obj) and b.obj.head not in meaning.types(a.obj)):
            return True
    if a.place and b.place and a.place != b.place:
        nested = a.place in meaning.containers(b.place) or b.place in meaning.containers(a.place)
        if not nested and (a.place in _wide()) == (b.place in _wide()):
            return True
    vague = {"every_day", "now", "today", None}
    if a.time == b.time or {a.time, b.time} & vague:
        return False
    return a.time not in meaning.wider_times(b.time) and b.time not in meaning.wider_times(a.time)


@cache
def _wide() -> frozenset[str]:
    return frozenset(meaning.places("city", "country"))


def _unsaid(fact: Clause, statement: Clause) -> bool:
    """Nobody would say that the one says the other."""
    if _apart(fact, statement):
        return True
    label = relation(fact, statement)
    if label == NEUTRAL:
        same = fact.kind == statement.kind and fact.pred == statement.pred and fact.obj == statement.obj
        return not (same and fact.neg != statement.neg)  # does not sing here: so she sings there?
    return label == CONTRADICTION


def _told_of(s: Sampler, four: list[Clause], beasts: bool) -> list[Clause] | None:
    """Each clause about somebody else, in this split."""
    heads = s.people + meaning.leaves("animal") * 2 if beasts else s.people
    known = {*heads, *s.first_names}
    taken = {np.head for c in four for np in (c.obj, c.to) if np}
    facts: list[Clause] = []
    for c in four:
        for _ in range(TRIES):
            subj = s.subject(heads, ("the",))
            subj = subj if subj.kind == "person" else subj._replace(adj=None)
            fact = s.moved(c._replace(subj=subj))
            if fact is not None and fact.subj.head in known and fact.subj.head not in taken:
                break
        else:
            return None
        taken.add(fact.subj.head)
        facts.append(fact)
    return facts


def _situation(s: Sampler):
    """Four facts about four individuals, and four statements about one of them, the right one first."""
    rng = s.rng
    beasts = rng.chance(0.1)
    four = _four(s, rng.choice(BEASTS if beasts else HOW), beasts)
    if four is None:
        return None
    # whichever of the four is said: one statement follows, and it alone
    statements = [_weaker(s, c, [other for other in four if other is not c]) for c in four]
    facts = _told_of(s, four, beasts)
    if facts is None:
        return None
    statements = [c._replace(subj=facts[0].subj) for c in statements]
    if not all(edits.valid(c) for c in (*facts, *statements)):
        return None
    order = tuple(rng.shuffled(facts))
    return (order, statements[0]), (order, statements, rng.choice(ABOUT))


def cosmosqa(language: str, split: str, n: int | None, seed: int) -> Iterator[dict]:
    """A paragraph, a question about a person or an animal in it, four statements."""
    s = Sampler(Rng("cosmosqa", split, seed), split)
    g = grammar(language)
    for i, (facts, statements, question) in enumerate(distinct(n, lambda i: _situation(s), "cosmosqa", split)):
        context = g.paragraph(
            [g.sentence(c, "fronted" if c.time and (i + k) % 3 == 0 else "statement") for k, c in enumerate(facts)]
        )
        texts = [g.sentence(c) for c in statements]
        asked = question.format(_name(g, statements[0].subj))
        yield row(f"{split}-{i}", context, asked, texts[0], texts[1:], i % ENDS)


GENERATORS = {"hellaswag": hellaswag, "cosmosqa": cosmosqa, "commonsenseqa": commonsenseqa}
