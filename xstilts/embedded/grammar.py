"""One renderer for all languages: the patterns are data of the lexicon, nothing here knows a language.

A grammar is made of ordered rules `[condition, pattern]`; the first whose condition holds of the features at hand is
used. docs/grammar.md explains features, slots and patterns to those who write one.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import combinations
from typing import NamedTuple

from xstilts.embedded import lexicon as lexicons
from xstilts.embedded.meaning import NP, Clause
from xstilts.embedded.patterns import Patterns, Rules, Token, prefixed, split
from xstilts.embedded.writing import Writer
from xstilts.errors import UserError

CASES = {"S": "nom", "O": "acc", "I": "dat"}
TEMPLATE = re.compile(r"(statement|fronted|who|what|where|when|whether)(_\d)?")
CASE = re.compile(r"\b[SOI]\.(\w+)")
CACHED = 200_000  # noun phrases remembered; forgotten all together, so memory stays bounded


class Phrase(NamedTuple):
    """A rendered noun phrase and the features that others agree with."""

    tokens: tuple[Token, ...]
    features: frozenset[str]


def _entity(tokens: list[Token], label: str) -> list[Token]:
    """Mark from the first to the last proper noun: articles, prepositions and quotes stay outside."""
    marks = [i for i, token in enumerate(tokens) if token.upos == "PROPN"]
    if not marks:
        return tokens
    return [token._replace(entity=label) if marks[0] <= i <= marks[-1] else token for i, token in enumerate(tokens)]


class Grammar(Writer):
    """Renders meanings in one language."""

    def __init__(self, lexicon: lexicons.Lexicon):
        self.lexicon = lexicon
        self.words = lexicon.words
        super().__init__(lexicon.grammar)
        where = f"lexicon {lexicon.language}: grammar"
        self.clauses = Rules(self.rules["clauses"], f"{where}: clauses")
        self.noun_phrases = Rules(self.rules["noun_phrase"], f"{where}: noun_phrase")
        self.persons = Rules(self.rules["person"], f"{where}: person")
        self.relatives = Rules(self.rules["relative"], f"{where}: relative")
        self.parts = {
            letter: Rules(rules, f"{where}: parts: {letter}") for letter, rules in self.rules["parts"].items()
        }
        self.patterns = Patterns(lexicon.tokens)
        self._phrases: dict[tuple, Phrase] = {}

    def _word(self, category: str, key: str, form: str, path: str = "") -> list[Token]:
        forms = self.words[category][key]
        if form not in forms:
            raise UserError(f"lexicon {self.lexicon.language}: {category}: {key}: no form {form!r} (has {list(forms)})")
        return [Token(text, upos, path, "", key) for text, upos in forms[form]]

    def features(self, category: str, key: str) -> frozenset[str]:
        """What a word of the lexicon has beside its forms, e.g. gender: its `class`, or the grammar's default."""
        return split(self.words[category][key].get("class", self.rules.get("default_class", "")))

    # ------------------------------------------------------------ noun phrases
    def noun_phrase(self, np: NP, case: str = "nom", context: frozenset[str] = frozenset()) -> Phrase:
        """Tokens and features. `context`: features of the clause around it, where the lexicon asks for them."""
        key = (np, case, context)
        found = self._phrases.get(key)
        if found is None:
            if len(self._phrases) > CACHED:
                self._phrases.clear()
            found = self._phrases[key] = self._noun_phrase(np, case, context)
        return found

    def _noun_phrase(self, np: NP, case: str, context: frozenset[str]) -> Phrase:
        if np.kind == "and":
            left, right = (self.noun_phrase(part, case, context) for part in (np.head, np.adj))
            link = [Token(text, upos) for text, upos in self.lexicon.tokens(self.rules["conjunction"])]
            shared = (left.features & right.features) - {"sg", "the", "person", "noun"}
            features = shared | {"and", "pl"} | prefixed("1", left.features)
            return Phrase((*left.tokens, *link, *right.tokens), features)
        if np.kind == "org":
            features = self._of_organisation(np.head) | {"org", "sg"}
            form = case if case in self.words["organisations"][np.head] else "nom"
            return Phrase(tuple(_entity(self._word("organisations", np.head, form), "ORG")), features)
        if np.kind == "person":
            gender = lexicons.concepts()["first_names"][np.head]
            features = split(self.rules["names"][gender]) | {"person", "sg", gender}

            def name(letter, form):
                if letter == "F":
                    return self._word("first_names", np.head, form)
                return self._word("surnames", np.adj, form) if np.adj else []

            classes = [self.words["first_names"][np.head].get("class", "")]
            classes += [self.words["surnames"][np.adj].get("class", "")] if np.adj else []
            pattern = self.persons.find(features | {case} | context | split(" ".join(classes)))
            return Phrase(tuple(_entity(self.patterns.fill(pattern, name), "PER")), features)
        number = "pl" if np.det in self.rules["plural"] else "sg"
        features = self.features("nouns", np.head) | {"noun", np.det, number}

        def noun(letter, form):
            if letter == "N":
                return self._word("nouns", np.head, form)
            if letter == "A":
                return self._word("adjectives", np.adj, form) if np.adj else []
            if letter == "R":
                return self._relative(np.rel, features) if np.rel else []
            return self._part(letter, features | {case} | context, noun)

        extra = ({"adj"} if np.adj else set()) | ({"rel"} if np.rel else set())
        return Phrase(
            tuple(self.patterns.fill(self.noun_phrases.find(features | context | {case} | extra), noun)), features
        )

    def _relative(self, clause: Clause, head: frozenset[str]) -> list[Token]:
        def body(letter, form):
            if letter == "K":
                return _under("K", self._clause(clause, "statement", "rel", head))
            return self._part(letter, head, body)

        return _under("R", self.patterns.fill(self.relatives.find(head), body))

    def _of_organisation(self, key: str) -> frozenset[str]:
        return split(self.words["organisations"][key].get("class", self.rules["names"]["org"]))

    def place(self, place: str) -> list[Token]:
        """The phrase of a place or, at work, of an organisation."""
        if place in self.words["organisations"]:
            return _entity(self._word("organisations", place, "at"), "ORG")
        return _entity(self._word("places", place, "form"), "LOC")

    def time(self, time: str) -> list[Token]:
        """The phrase of a time."""
        return self._word("times", time, "form", "T")

    # ------------------------------------------------------------ clauses
    def clause(self, clause: Clause, template: str = "statement") -> list[Token]:
        """Tokens of a sentence. `template`: statement, fronted (the time first), or a question: who, what, where,
        when, whether and the variants that the lexicon's `clauses` know."""
        question = template not in ("statement", "fronted")
        end = self.lexicon.tokens(self.rules["end"]["question" if question else "statement"])
        return self.finish(self._clause(clause, template, "main") + [Token(text, upos) for text, upos in end])

    def _clause(self, clause: Clause, template: str, mood: str, head: frozenset[str] | None = None) -> list[Token]:
        """A clause without its end mark. `head`: features of the noun that a relative clause belongs to."""
        subject = Phrase((), head) if head is not None else self.noun_phrase(clause.subj)
        features = self._features(clause, template, mood, subject.features)
        phrases = {"O": clause.obj, "I": clause.to}

        def get(letter, form):
            if letter == "S":
                if form:
                    return _under("S", self.noun_phrase(clause.subj, form or "nom", self._context(features)).tokens)
                return _under("S", subject.tokens)
            if letter in phrases:
                np = phrases[letter]
                return _under(
                    letter, self.noun_phrase(np, form or CASES[letter], self._context(features)).tokens if np else ()
                )
            if letter == "P":
                return _under("P", self.place(clause.place) if clause.place else ())
            if letter == "T":
                return self.time(clause.time) if clause.time else []
            if letter == "Q":
                return _under("Q", self._complement(clause.that)) if clause.that else []
            if letter == "W":
                return self._word("verbs", clause.pred, form, "V")
            if letter == "A":
                return self._word("adjectives", clause.pred, form, "A")
            if letter == "U":
                return self._word("professions", clause.pred, form, "U")
            return self._part(letter, features, get)

        return self.patterns.fill(self.clauses.find(features), get)

    def _context(self, features: frozenset[str]) -> frozenset[str]:
        """Of a clause's features, those that the lexicon lets noun phrases see (`noun_phrase_context`)."""
        return features & split(self.rules.get("noun_phrase_context", ""))

    def _part(self, letter: str, features: frozenset[str], get) -> list[Token]:
        """A part named in the lexicon: its literal words are marked with the letter, the slots in it keep theirs."""
        rules = self.parts.get(letter)
        if rules is None:
            raise UserError(f"lexicon {self.lexicon.language}: grammar: parts: {letter!r} is not there")
        tokens = self.patterns.fill(rules.find(features), get)
        return [token if token.path else token._replace(path=letter) for token in tokens]

    def _features(self, clause: Clause, template: str, mood: str, subject: frozenset[str]) -> frozenset[str]:
        det = clause.subj.det
        if template == "statement" and det in self.rules.get("front_time", ()) and clause.time:
            template = "fronted"
        if template == "fronted" and not clause.time:
            template = "statement"
        features = {clause.kind, template, mood, clause.tense} | subject
        if clause.neg or (det == "no" and self.rules.get("negative_concord")):
            features.add("neg")
        for name in ("obj", "to", "place", "time"):
            if getattr(clause, name) is not None:
                features.add(name)
        if clause.time:
            features.add(f"t:{clause.time}")  # Hindi says habits with another verb than states
        if clause.kind in ("verb", "report"):
            features |= split(self.words["verbs"][clause.pred].get("class", ""))
        for mark, np in (("o", clause.obj), ("i", clause.to)):
            if np is not None:
                features |= prefixed(mark, self.noun_phrase(np, CASES[mark.upper()]).features)
        return frozenset(features)

    def _complement(self, clause: Clause) -> list[Token]:
        body = _under("K", self._clause(clause, "statement", "sub"))
        return self.patterns.fill(self.rules["complement"], lambda letter, form: body)

    def two_clauses(self, first: Clause, second: Clause) -> list[Token]:
        """Both statements as one sentence with the lexicon's `clause_conjunction` between."""
        end = [Token(text, upos) for text, upos in self.lexicon.tokens(self.rules["end"]["statement"])]
        bodies = [self._clause(c, "statement", "main") for c in (first, second)]
        return self.finish(bodies[0] + self.link() + bodies[1] + end)

    def link(self) -> list[Token]:
        """The words between two joined clauses."""
        return [Token(text, upos) for text, upos in self.lexicon.tokens(self.rules["clause_conjunction"])]

    # ------------------------------------------------------------ what the parser must try
    def templates(self) -> tuple[str, ...]:
        """Names of the templates of statements and questions that this grammar has."""
        terms = [term for condition, _ in self.rules["clauses"] for term in str(condition).split()]
        return tuple(dict.fromkeys(term for term in terms if TEMPLATE.fullmatch(term)))

    def cases(self) -> frozenset[str]:
        """Cases that the clause patterns ask for by name."""
        patterns = [pattern for _, pattern in self.rules["clauses"]]
        patterns += [pattern for rules in self.rules["parts"].values() for _, pattern in rules]
        return frozenset(case for pattern in patterns for case in CASE.findall(str(pattern)))

    def contexts(self) -> list[frozenset[str]]:
        """Every set of clause features that noun phrases may see."""
        seen = sorted(split(self.rules.get("noun_phrase_context", "")))
        return [frozenset(chosen) for k in range(len(seen) + 1) for chosen in combinations(seen, k)]

    def sentence(self, clause: Clause, template: str = "statement") -> str:
        """The clause as text."""
        return self.text(self.clause(clause, template))


def _under(letter: str, tokens) -> list[Token]:
    return [token._replace(path=letter + token.path) for token in tokens]


@cache
def grammar(language: str) -> Grammar:
    """The grammar of a language, read once."""
    return Grammar(lexicons.load(language))
