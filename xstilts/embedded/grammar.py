"""One renderer for all languages: the patterns are data of the lexicon, nothing here knows a language."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from xstilts.embedded import lexicon as lexicons
from xstilts.embedded.meaning import NP, Clause
from xstilts.errors import UserError


class Token(NamedTuple):
    """A word of a sentence; `slot`: the template letter it came from; `entity`: "" | PER | LOC | ORG."""

    text: str
    upos: str
    slot: str = ""
    entity: str = ""


def _lookup(table: dict, *keys: str):
    """Nested tables whose keys may list several values ("ma mi") or be "*"."""
    for key in keys:
        for names, value in table.items():
            if key in names.split():
                table = value
                break
        else:
            table = table["*"]
    return table


def _entity(tokens: list[Token], label: str) -> list[Token]:
    """Mark from the first to the last proper noun: articles, prepositions and quotes stay outside."""
    marks = [i for i, token in enumerate(tokens) if token.upos == "PROPN"]
    if not marks:
        return tokens
    return [token._replace(entity=label) if marks[0] <= i <= marks[-1] else token for i, token in enumerate(tokens)]


class Grammar:
    """Renders meanings in one language."""

    def __init__(self, lexicon: lexicons.Lexicon):
        self.lexicon = lexicon
        self.rules = lexicon.grammar
        self.words = lexicon.words
        self.joiner = self.rules["joiner"]
        self.tight_left = set(".,?!:;。，？！") | set(self.rules.get("no_space_before", ""))
        self.tight_right = set(self.rules.get("no_space_after", ""))
        self._patterns: dict[str, list] = {}

    def _parse(self, pattern: str) -> list[tuple[str, tuple, bool]]:
        """[(kind, data, optional group?)]; kind: literal | slot. Parsed once a pattern."""
        parsed = self._patterns.get(pattern)
        if parsed is None:
            parsed, group, number = [], 0, 0
            for word in pattern.split():
                if word.startswith("["):
                    number += 1
                    group, word = number, word[1:]
                close = word.endswith("]")
                word = word.rstrip("]")
                if word[0].isascii() and word[0].isupper() and (len(word) == 1 or word[1] == "."):
                    form, _, suffix = word[2:].partition("+")
                    parsed.append(("slot", (word[0], form, suffix), group))
                else:
                    parsed.append(("literal", self.lexicon.tokens(word)[0], group))
                group = 0 if close else group
            self._patterns[pattern] = parsed
        return parsed

    def _fill(self, pattern: str, slot: str, get) -> list[Token]:
        """Expand a pattern; `get(letter, form, suffix)` gives tokens, [] for an empty slot."""
        parts = [
            (group, [Token(*data, slot)] if kind == "literal" else get(*data), kind)
            for kind, data, group in self._parse(pattern)
        ]
        empty = {group for group, tokens, kind in parts if group and kind == "slot" and not tokens}
        return [token for group, tokens, _ in parts if group not in empty or not group for token in tokens]

    def _word(self, category: str, key: str, form: str, suffix: str, slot: str) -> list[Token]:
        tokens = [Token(text, upos, slot) for text, upos in self.words[category][key][form]]
        if suffix:
            tokens[-1] = tokens[-1]._replace(text=tokens[-1].text + suffix)
        return tokens

    def noun_phrase(self, np: NP, case: str, slot: str) -> tuple[list[Token], str, str]:
        """Tokens, class for agreement and number (sg | pl)."""
        if np.kind == "and":
            left, _, _ = self.noun_phrase(np.head, case, slot)
            right, _, _ = self.noun_phrase(np.adj, case, slot)
            link = [Token(*self.lexicon.tokens(self.rules["conjunction"])[0], slot)]
            return left + link + right, "pl", "pl"
        if np.kind == "org":
            forms = self.words["organisations"][np.head]
            tokens = [Token(text, upos, slot) for text, upos in forms["nom"]]
            return _entity(tokens, "ORG"), "org", "sg"
        if np.kind == "person":
            gender = lexicons.concepts()["first_names"][np.head]

            def name(letter, form, suffix):
                if letter == "F":
                    return self._word("first_names", np.head, form, suffix, slot)
                return self._word("surnames", np.adj, form, suffix, slot) if np.adj else []

            tokens = self._fill(_lookup(self.rules["person"], case, gender), slot, name)
            return _entity(tokens, "PER"), gender, "sg"
        cls = self.words["nouns"][np.head].get("class", self.rules.get("default_class", "*"))

        def noun(letter, form, suffix):
            if letter == "N":
                return self._word("nouns", np.head, form, suffix, slot)
            return self._word("adjectives", np.adj, form, suffix, slot) if np.adj else []

        tokens = self._fill(_lookup(self.rules["noun_phrase"][np.det], case, cls), slot, noun)
        plural = np.det in self.rules["plural"]
        return tokens, "pl" if plural else cls, "pl" if plural else "sg"

    def place(self, place: str, slot: str = "P") -> list[Token]:
        """The phrase of a place or, at work, of an organisation."""
        if place in self.words["organisations"]:
            tokens = [Token(text, upos, slot) for text, upos in self.words["organisations"][place]["at"]]
            return _entity(tokens, "ORG")
        tokens = [Token(text, upos, slot) for text, upos in self.words["places"][place]["form"]]
        return _entity(tokens, "LOC")

    def clause(self, clause: Clause, template: str = "statement") -> list[Token]:
        """Tokens of a sentence. `template`: statement, fronted, or a question of the lexicon's `clauses`."""
        return self.finish(self._raw(clause, template))

    def _raw(self, clause: Clause, template: str) -> list[Token]:
        rules = self.rules
        det = clause.subj.det
        if template in ("statement", "fronted"):
            if det in rules.get("front_time", ()):
                template = "fronted"
            if clause.neg or det in rules.get("negative_concord", ()):
                template = "negative_fronted" if template == "fronted" else "negative"
            if not clause.time:
                template = {"fronted": "statement", "negative_fronted": "negative"}.get(template, template)
        pattern = rules["clauses"][clause.kind].get(template)
        if pattern is None:
            raise UserError(f"lexicon {self.lexicon.language}: clauses: {clause.kind}: no template {template!r}")
        subject, cls, number = self.noun_phrase(clause.subj, "nom", "S")

        def get(letter, form, suffix):
            if letter == "S":
                return subject
            if letter in "VB":
                return self._word("verbs", clause.pred, "base" if letter == "B" else number, "", "V")
            if letter in "XC":
                text = rules["auxiliary" if letter == "X" else "copula"][number]
                return [Token(*token, letter) for token in self.lexicon.tokens(text)]
            if letter == "O":
                return self.noun_phrase(clause.obj, "acc", "O")[0] if clause.obj else []
            if letter == "P":
                return self.place(clause.place) if clause.place else []
            if letter == "T":
                return self._word("times", clause.time, "form", "", "T") if clause.time else []
            if letter == "D":
                text = rules.get("distributive", {}).get(det)
                return [Token(*token, "D") for token in self.lexicon.tokens(text)] if text else []
            if letter == "A":
                polarity = "negative" if clause.neg else "positive"
                pattern = _lookup(rules["predicate"], polarity, cls)
                return self._fill(pattern, "A", lambda _, f, s: self._word("adjectives", clause.pred, f, s, "A"))
            raise UserError(f"lexicon {self.lexicon.language}: clauses: unknown slot {letter!r} in {pattern!r}")

        return self._fill(pattern, "", get)

    def two_clauses(self, first: Clause, second: Clause) -> list[Token]:
        """Both statements as one sentence with the lexicon's `clause_conjunction` between."""
        link = [Token(*token) for token in self.lexicon.tokens(self.rules["clause_conjunction"])]
        return self.finish(self._raw(first, "statement")[:-1] + link + self._raw(second, "statement"))

    def finish(self, tokens: list[Token]) -> list[Token]:
        """Word-shape rules (a/an) and the capital letter."""
        for word, starts, replacement in self.rules.get("sandhi", ()):
            tokens = [
                token._replace(text=replacement)
                if token.text == word and i + 1 < len(tokens) and tokens[i + 1].text[0].lower() in starts
                else token
                for i, token in enumerate(tokens)
            ]
        if self.rules["capitalise"]:
            first = tokens[0].text
            tokens = [tokens[0]._replace(text=first[0].upper() + first[1:]), *tokens[1:]]
        return tokens

    def text(self, tokens: list[Token]) -> str:
        """The sentence as written."""
        return self.text_with_spans(tokens)[0]

    def text_with_spans(self, tokens: list[Token]) -> tuple[str, dict[str, tuple[int, int]]]:
        """The sentence and the character span (start, end) of each slot, e.g. {"S": (0, 4)}."""
        out, length, spans = [], 0, {}
        previous = ""
        for token in tokens:
            gap = self.joiner
            if not out or token.text in self.tight_left or previous in self.tight_right:
                gap = ""
            start = length + len(gap)
            out.append(gap + token.text)
            length = start + len(token.text)
            if token.slot:
                spans[token.slot] = (spans[token.slot][0] if token.slot in spans else start, length)
            previous = token.text
        return "".join(out), spans

    def sentence(self, clause: Clause, template: str = "statement") -> str:
        """The clause as text."""
        return self.text(self.clause(clause, template))

    def paragraph(self, sentences: list[str]) -> str:
        """Sentences joined as the script does."""
        return self.joiner.join(sentences)


@cache
def grammar(language: str) -> Grammar:
    """The grammar of a language, read once."""
    return Grammar(lexicons.load(language))
