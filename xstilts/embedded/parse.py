"""From a text back to its meanings, in any language of the lexicons: analysis by synthesis.

Every phrase that the words of a sentence allow is rendered and looked for; what fits together is rendered as a whole
and compared. So the parser needs no grammar of its own and reads exactly what the renderer can say.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import pairwise, product
from typing import NamedTuple

import regex

from xstilts.embedded import meaning
from xstilts.embedded.grammar import Grammar, grammar
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause, noun
from xstilts.embedded.writing import COMMAS
from xstilts.errors import UserError

STATEMENTS = ("statement", "fronted")
LOCATIVE = (*STATEMENTS, "who", "where", "when")  # templates of being in a place
# What stands for the slot that a question asks for, so that the renderer sees the same features as when it was made.
UNKNOWN = {
    "who": (NP("person", None, "anna"), NP("person", None, "paul")),
    "what": (noun("the", "book"),),
    "where": ("kitchen",),
    "when": ("monday",),
}
DETERMINERS = ("the", "a", "every", "no", "some", "two", "three")
WORD = regex.compile(r"[\p{L}\p{M}\p{N}\p{Cf}'’·]+|[^\s\p{L}\p{M}\p{N}\p{Cf}]")


class Reading(NamedTuple):
    """One meaning of a sentence. `spans`: characters of each slot; `second`: of two joined clauses the other one."""

    clause: Clause
    template: str
    spans: dict
    second: Clause | None = None

    @property
    def asked(self) -> str | None:
        """who, what, where, when or whether; None: a statement."""
        return None if self.template in STATEMENTS else self.template.split("_")[0]


class Phrase(NamedTuple):
    """A piece of the sentence: value (NP, place or time) and the words [start, end) that it covers."""

    value: object
    start: int
    end: int


def _shape(text: str) -> str:
    return " ".join(text.casefold().split())


class Parser:
    """Reads sentences of one language."""

    def __init__(self, g: Grammar):
        self.g = g
        self.cases = ("nom", "acc", "dat", *sorted(g.cases() - {"nom", "acc", "dat"}))
        self.templates = g.templates()
        # Where words are written together, in Chinese or with the Arabic "and", phrases are looked for by character.
        self.by_word = bool(g.joiner) and not any(mark.isalpha() for mark in g.tight_right)
        of_class = {g.features("nouns", key): noun("the", key) for key in reversed(meaning.leaves("thing"))}
        self.unknown = {**UNKNOWN, "what": tuple(of_class.values())}  # an object of each class: verbs may ask for it
        self.forms = {
            category: {
                key: [" ".join(text for text, _ in form) for name, form in forms.items() if name != "class"]
                for key, forms in g.words[category].items()
            }
            for category in g.words
        }

    def words(self, text: str) -> list[str]:
        """Lower-case words and marks, or characters."""
        return WORD.findall(text.casefold()) if self.by_word else list(text.casefold())

    # ------------------------------------------------------------ pieces
    def _found(self, category: str, text: str) -> list[str]:
        """Concepts of which some form stands in the text."""
        squeezed = text.replace(" ", "")
        return [
            key
            for key, forms in self.forms[category].items()
            if any(form.replace(" ", "").casefold() in squeezed for form in forms)
        ]

    def _at(self, tokens: list, sentence: list[str]) -> Iterator[tuple[int, int]]:
        """Where the rendered tokens stand in the sentence."""
        wanted = self.words(self.g.text(self.g.finish(list(tokens))))
        while wanted and wanted[-1] in COMMAS:  # a relative clause that ends the sentence has lost it
            wanted.pop()
        size = len(wanted)
        for start in range(len(sentence) - size + 1 if size else 0):
            if sentence[start] == wanted[0] and sentence[start : start + size] == wanted:
                yield start, start + size

    def _phrases(self, np: NP, sentence: list[str]) -> set[Phrase]:
        found = set()
        for case, context in product(self.cases, self.g.contexts()):
            try:
                tokens = self.g.noun_phrase(np, case, context).tokens
            except UserError:
                continue  # this grammar never says such a phrase in that case
            found |= {Phrase(np, *span) for span in self._at(tokens, sentence)}
        return found

    def _noun_phrases(self, text: str, sentence: list[str], verbs: list[str], places: list[str]) -> list[Phrase]:
        people = [NP("person", None, key) for key in self._found("first_names", text)]
        surnames = self._found("surnames", text)
        people += [np._replace(adj=surname) for np in people for surname in surnames]
        orgs = [NP("org", None, key) for key in self._found("organisations", text)]
        heads, adjectives = self._found("nouns", text), [None, *self._found("adjectives", text)]
        nouns = [
            noun(det, head, adj)
            for head in heads
            for det in DETERMINERS
            for adj in (adjectives if det in ("the", "a") else [None])
        ]
        simple = [phrase for np in (*people, *orgs, *nouns) for phrase in self._phrases(np, sentence)]
        definite = sorted({p.value for p in simple if p.value.kind == "person" or p.value.det == "the"}, key=repr)
        joined = [NP("and", None, a, b) for a in definite for b in definite if a != b]
        objects = [np for np in definite if np.kind == "noun"]
        relative = []
        for head, det, verb in product(heads, ("the", "a"), verbs):
            wants = "object" in concepts()["verbs"][verb]
            for obj, place in product(objects if wants else [None], [None, *places]):
                if obj is None or obj.head != head:
                    relative.append(noun(det, head, rel=Clause("verb", meaning.GAP, verb, obj, place)))
        return simple + [phrase for np in (*joined, *relative) for phrase in self._phrases(np, sentence)]

    def _adverbials(self, category: str, keys: list[str], sentence: list[str]) -> list[Phrase]:
        render = self.g.place if category == "places" else lambda key: self.g.time(key)
        return [Phrase(key, *span) for key in keys for span in self._at(render(key), sentence)]

    # ------------------------------------------------------------ sentences
    def parse(self, text: str, joined: bool = True) -> list[Reading]:
        """All readings of one sentence, end mark included; [] where the grammar cannot say it. `joined`: two
        statements may be joined in it."""
        shape = _shape(text)
        sentence = self.words(text)
        verbs = self._found("verbs", shape)
        plain = [verb for verb in verbs if meaning.valency_of(verb) != "report"]
        spots = self._found("places", shape)
        nps = self._noun_phrases(shape, sentence, plain, spots)
        places = self._adverbials("places", spots, sentence)
        for key in self._found("organisations", shape):
            places += [Phrase(key, *span) for span in self._at(self.g.place(key), sentence)]
        times = self._adverbials("times", self._found("times", shape), sentence)
        readings: dict[tuple, Reading] = {}
        pieces = (shape, nps, _longest(places), _longest(times), verbs)
        for clause, template in self._candidates(*pieces):
            try:
                tokens = self.g.clause(clause, template)
            except UserError:
                continue
            rendered, spans = self.g.text_with_spans(tokens)
            if _shape(rendered) == shape:
                clause = _unasked(clause, template)
                readings.setdefault((clause, template), Reading(clause, template, spans))
        return list(readings.values()) or (self._joined(text) if joined else [])

    def _candidates(self, shape, nps, places, times, verbs) -> Iterator[tuple[Clause, str]]:
        simple = [p for p in nps if p.value.kind != "and" and p.value.rel is None]
        inner = [p for p in simple if p.value.kind in ("person", "org") or p.value.det == "the"]
        reports = [verb for verb in verbs if meaning.valency_of(verb) == "report"]
        for subj in nps:
            for template in STATEMENTS:
                yield from self._about(subj, template, shape, simple, places, times, verbs)
            for verb in reports:
                if subj.value.kind in ("person", "noun"):
                    for other in inner:
                        if _apart(subj, other):
                            for that, _ in self._about(other, "statement", shape, simple, places, times, verbs):
                                if that.tense == "present":
                                    yield Clause("report", subj.value, verb, that=that), "statement"
        for template in self.templates:
            if template in STATEMENTS:
                continue
            asked = template.split("_")[0]
            subjects = [Phrase(np, 0, 0) for np in self.unknown["who"]] if asked == "who" else nps
            for subj in subjects:
                yield from self._about(subj, template, shape, simple, places, times, verbs)

    def _about(self, subj: Phrase, template: str, shape, nps, places, times, verbs) -> Iterator[tuple[Clause, str]]:
        """Clauses of one subject; pieces never overlap, and all that a question asks for is an `UNKNOWN`."""
        asked = template.split("_")[0]
        spots = [Phrase(value, 0, 0) for value in self.unknown["where"]] if asked == "where" else [None, *places]
        moments = [Phrase(value, 0, 0) for value in self.unknown["when"]] if asked == "when" else [None, *times]
        objects = [Phrase(value, 0, 0) for value in self.unknown["what"]] if asked == "what" else nps
        definite = subj.value.kind in ("person", "org") or subj.value.det == "the"
        signs = (False, True) if definite and template in STATEMENTS else (False,)
        for place, time in product(spots, moments):
            if not _apart(subj, place, time) or (template == "fronted" and time is None):
                continue
            where, when = place and place.value, time and time.value
            tenses = [t for t in ("present", "future") if when is None or asked == "when" or when in meaning.times(t)]
            for tense, neg in product(tenses, signs):
                rest = {"place": where, "time": when, "neg": neg, "tense": tense}
                if place is not None and subj.value.kind != "and" and template in LOCATIVE:
                    yield Clause("at", subj.value, **rest), template
                for verb in verbs:
                    yield from self._deeds(subj, verb, (place, time), objects, nps, rest, template)
        if template == "statement":  # a property and a trade have no time
            for adjective in self._found("adjectives", shape):
                yield from ((Clause("adjective", subj.value, adjective, neg=neg), template) for neg in signs)
            for trade in self._found("professions", shape):
                yield from ((Clause("isa", subj.value, trade, neg=neg), template) for neg in signs)

    def _deeds(self, subj, verb, adverbials, objects, nps, rest, template) -> Iterator[tuple[Clause, str]]:
        valency = meaning.valency_of(verb)
        if valency == "report":
            return
        if valency == "intransitive":
            yield Clause("verb", subj.value, verb, **rest), template
            return
        for obj in objects:
            if obj.value.kind == "org" or obj.value.det in ("every", "no") or not _apart(subj, obj, *adverbials):
                continue
            if valency == "transitive":
                yield Clause("verb", subj.value, verb, obj.value, **rest), template
                continue
            for to in nps:
                definite = to.value.kind == "person" or to.value.det == "the"
                if definite and _apart(subj, obj, to, *adverbials):
                    yield Clause("verb", subj.value, verb, obj.value, to=to.value, **rest), template

    def _joined(self, text: str) -> list[Reading]:
        """Two statements with the clause conjunction between."""
        link = self.g.text(self.g.link()).casefold()
        end = self.g.rules["end"]["statement"]
        shape, found = _shape(text), []
        at = shape.find(link)
        while at >= 0:
            halves = shape[:at].strip() + end, shape[at + len(link) :].strip()
            first = self.parse(halves[0], joined=False)
            for a, b in product(first, self.parse(halves[1], joined=False) if first else ()):
                whole = self.g.text(self.g.two_clauses(a.clause, b.clause))
                if a.template == b.template == "statement" and _shape(whole) == shape:
                    found.append(Reading(a.clause, "statement", {}, b.clause))
            at = shape.find(link, at + 1)
        return found


def _unasked(clause: Clause, template: str) -> Clause:
    """With one and the same subject or object where a question asks for it."""
    if template.startswith("who"):
        return clause._replace(subj=UNKNOWN["who"][0])
    return clause._replace(obj=UNKNOWN["what"][0]) if template.startswith("what") else clause


def _longest(phrases: list[Phrase]) -> list[Phrase]:
    """Without those that stand inside another: "on Monday" in "on Monday morning"."""
    return [p for p in phrases if not any(q.start <= p.start and p.end <= q.end and q[1:] != p[1:] for q in phrases)]


def _apart(*phrases: Phrase | None) -> bool:
    """No two pieces share a word."""
    taken = sorted((p.start, p.end) for p in phrases if p is not None and p.end > p.start)
    return all(a[1] <= b[0] for a, b in pairwise(taken))


@cache
def parser(language: str) -> Parser:
    """The parser of a language, made once."""
    return Parser(grammar(language))


@lru_cache(maxsize=20_000)
def readings(language: str, sentence: str) -> tuple[Reading, ...]:
    """All readings of a sentence in a language; () where the grammar cannot say it."""
    return tuple(parser(language).parse(sentence))


def sentences(language: str, text: str) -> list[tuple[int, str]]:
    """(offset, sentence) of each sentence of a paragraph."""
    ends = "".join(regex.escape(mark) for mark in set(grammar(language).rules["end"].values()))
    return [(m.start(), m.group()) for m in regex.finditer(rf"[^\s{ends}][^{ends}]*[{ends}]?", text)]
