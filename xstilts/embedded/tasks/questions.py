"""Span questions over short paragraphs: squad, squad_v2, xquad, mlqa; tydiqa asks in other words than the paragraph."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from xstilts.embedded import edits, meaning
from xstilts.embedded.grammar import grammar
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import Clause, noun
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct

SLOT = {"who": ("subj", "S"), "what": ("obj", "O"), "where": ("place", "P"), "when": ("time", "T")}


def _fact(s: Sampler) -> Clause:
    """A positive clause about one individual with at least two of object, place and time."""

    def draw() -> Clause | None:
        c = s.verb_clause(obj_dets=("the", "the", "a"))
        return c if sum(x is not None for x in (c.obj, c.place, c.time)) >= 2 else None

    return s.own(draw)


def _covers(wanted, given, slot: str) -> bool:
    """Does a question that says `wanted` fit a fact that says `given`?"""
    if wanted is None or wanted == given:
        return True
    if given is None:
        return False
    if slot == "time":
        return given == "every_day" or wanted in meaning.wider_times(given)
    if slot in ("obj", "to") and wanted.kind == given.kind == "noun" and wanted.adj in (None, given.adj):
        return wanted.head in meaning.ancestors(given.head)
    return slot == "place" and wanted in meaning.containers(given)


def _verb(pred: str) -> str:
    return concepts()["verbs"][pred].get("synonym", pred)


def fits(fact: Clause, question: Clause, asked: str) -> bool:
    """Is the asked slot of `fact` an answer to the question?"""
    hidden = SLOT[asked][0]
    return (
        fact.kind == question.kind
        and getattr(fact, hidden) is not None
        and _verb(fact.pred) == _verb(question.pred)
        and fact.tense == question.tense
        and all(
            _covers(getattr(question, slot), getattr(fact, slot), slot)
            for slot in ("subj", "obj", "to", "place", "time")
            if slot != hidden
        )
    )


def askable(c: Clause) -> list[str]:
    """Which of who, what, where, when a positive clause about one individual answers."""
    kinds = ["who"] if c.subj.kind == "person" or c.subj.head in meaning.leaves("person") else []
    if c.obj and c.obj.head in meaning.leaves("thing"):
        kinds.append("what")
    return kinds + ["where"] * bool(c.place) + ["when"] * bool(c.time)


def _reworded(s: Sampler, c: Clause, asked: str) -> Clause | None:
    """The question with a hypernym or a synonym for what the paragraph says; None where there is none."""
    options = []
    above = meaning.ancestors(c.obj.head)[1:] if asked != "what" and c.obj and c.obj.kind == "noun" else ()
    above = tuple(key for key in above if key != "person")
    if above:
        options.append(c._replace(obj=noun("the", s.rng.choice(above))))
    if asked != "where" and c.place and meaning.containers(c.place):
        options.append(c._replace(place=s.rng.choice(meaning.containers(c.place))))
    if asked != "when" and c.time and meaning.wider_times(c.time):
        options.append(c._replace(time=s.rng.choice(meaning.wider_times(c.time))))
    if c.pred == "buy":
        options.append(c._replace(pred="purchase"))
    return s.rng.choice(options) if options else None


def _near(s: Sampler, c: Clause) -> Clause | None:
    """The same deed by somebody else, elsewhere and perhaps at another time."""
    c = edits.other_subject(c, s)
    c = c and (edits.other_place if c.place else edits.other_time)(c, s)
    return edits.other_time(c, s) if c and c.time and s.rng.chance(0.5) else c


def _paragraph(s: Sampler, target: Clause) -> list[Clause] | None:
    """3 to 6 facts about different individuals, one of them `_near` the target; None if two share a subject."""
    rng = s.rng
    facts = [target]
    for _ in range(8):
        near = _near(s, target)
        near = s.moved(near) if near is not None and edits.valid(near) else None
        if near is not None and near.subj != target.subj:
            facts.append(near)
            break
    size = rng.choice((3, 3, 4, 4, 5, 6))
    while len(facts) < size:
        facts.append(_fact(s))
    subjects = [c.subj.head for c in facts]
    others = [np.head for c in facts for np in (c.obj, c.to) if np]
    if len(set(subjects)) < len(subjects) or set(subjects) & set(others):
        return None
    return rng.shuffled(facts)


def _item(s: Sampler, i: int, style: str):
    """(facts, question clause, asked, index of the answering fact or None)."""
    rng = s.rng
    target = _fact(s)
    asked = askable(target)
    if not asked:
        return None
    asked = asked[i % len(asked)]
    unanswerable = style == "squad_v2" and i % 3 == 2
    question: Clause | None = target
    if style == "tydiqa":
        question = _reworded(s, target, asked)
    elif unanswerable and rng.chance(0.4):
        question = rng.choice((edits.other_time, edits.other_object, edits.other_verb))(target, s)
    if question is None or not edits.valid(question):
        return None
    facts = _paragraph(s, target)
    if facts is None:
        return None
    if unanswerable and question is target:  # what another of the paragraph does, asked of this one
        others = [c.subj for c in facts if c.subj.kind != "org" and c is not target]
        subj = rng.choice(others) if others else None
        if subj is None or (subj.kind == "noun" and subj.head not in meaning.subjects(target.pred)):
            return None
        question = target._replace(subj=subj)
    if asked not in askable(question) or not edits.valid(question):
        return None
    if asked != "when" and question.time and rng.chance(0.4):
        question = question._replace(time=None)
    answers = [k for k, c in enumerate(facts) if fits(c, question, asked)]
    if len(answers) != (0 if unanswerable else 1):
        return None
    hidden = question._replace(**{SLOT[asked][0]: target.subj if asked == "who" else None})
    identity = (tuple(facts), hidden, asked)
    return identity, (facts, question, asked, answers[0] if answers else None)


def candidates(name: str, language: str, split: str, n: int | None, seed: int) -> Iterator[tuple[dict, list]]:
    """Each row of a generator with the spans (start, end) of its context that have the type asked for: for `where`
    every place, for `who` every person."""
    s = Sampler(Rng(name, split, seed), split)
    g = grammar(language)
    for i, (facts, question, asked, where) in enumerate(
        distinct(n, lambda i: _item(s, i, STYLES[name]), name, split),
    ):
        context, answers, found = "", [], []
        for k, fact in enumerate(facts):
            template = "fronted" if fact.time and (i + k) % 3 == 0 else "statement"
            text, spans = g.text_with_spans(g.clause(fact, template))
            context += (g.joiner if context else "") + text
            if asked in askable(fact):
                start, end = spans[SLOT[asked][1]]
                offset = len(context) - len(text)
                found.append((offset + start, offset + end))
                if k == where:
                    answers = [{"text": text[start:end], "start": offset + start}]
        question = g.sentence(question, asked)
        yield {"id": f"{split}-{i}", "context": context, "question": question, "answers": answers}, found


def span_qa(name: str, language: str, split: str, n: int | None, seed: int) -> Iterator[dict]:
    """Paragraph, question, answer at a character offset (none: unanswerable)."""
    return (row for row, _ in candidates(name, language, split, n, seed))


STYLES = {"squad": "squad", "squad_v2": "squad_v2", "xquad": "squad", "mlqa": "squad", "tydiqa": "tydiqa"}
GENERATORS = {name: partial(span_qa, name) for name in STYLES}
