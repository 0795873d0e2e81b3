"""Ordered rules and word patterns: the little language in which a lexicon writes its grammar (docs/grammar.md)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from xstilts.errors import UserError


class Token(NamedTuple):
    """A word of a sentence. `path`: letters of the slots it stands in, outermost first ("SKV": the verb of a relative
    clause in the subject); `entity`: "" | PER | LOC | ORG; `concept`: key of concepts.yaml, "" where there is none."""

    text: str
    upos: str
    path: str = ""
    entity: str = ""
    concept: str = ""

    @property
    def slot(self) -> str:
        """The outermost slot: S subject, O object, I recipient, P place, T time, V verb, Q complement..."""
        return self.path[:1]


class Rules:
    """Ordered [condition, value]. A condition names features that must all be there; `a|b`: either; `-a`: not a."""

    def __init__(self, rules: list, where: str):
        self.where = where
        self.rules = [([_term(term) for term in str(condition).split()], value) for condition, value in rules]
        self.known: dict[frozenset[str], object] = {}

    def find(self, features: frozenset[str]):
        """The value of the first rule that holds. `UserError`: none does."""
        value = self.known.get(features, self)
        if value is self:
            value = next((v for terms, v in self.rules if all(bool(t & features) == want for t, want in terms)), None)
            if value is None:
                raise UserError(f"{self.where}: no rule for {' '.join(sorted(features))}; end the list with ['', ...]")
            self.known[features] = value
        return value


def _term(term: str) -> tuple[frozenset[str], bool]:
    return frozenset(term.removeprefix("-").split("|")), not term.startswith("-")


def prefixed(mark: str, features: frozenset[str]) -> frozenset[str]:
    """Features of another phrase, told apart from one's own: "o:f" for a feminine object."""
    return frozenset(f"{mark}:{feature}" for feature in features if ":" not in feature)


class Patterns:
    """Parsed patterns of one grammar. `tokens(text)` turns literal words into (text, UPOS)."""

    def __init__(self, tokens: Callable[[str], tuple[tuple[str, str], ...]]):
        self.tokens = tokens
        self._known: dict[str, list] = {}

    def _parse(self, pattern: str) -> list[tuple]:
        """[(group, literal tokens or None, letter, form, prefix, suffix)], parsed once a pattern."""
        parsed = self._known.get(pattern)
        if parsed is None:
            parsed, group, number = [], 0, 0
            for word in pattern.split():
                if word.startswith("["):
                    number += 1
                    group, word = number, word[1:]
                close = word.endswith("]")
                word = word.removesuffix("]")
                pieces = word.split("+")
                at = next((i for i, piece in enumerate(pieces) if _is_slot(piece)), None)
                if at is None:
                    parsed.append((group, self.tokens(word), "", "", "", ""))
                else:
                    letter, _, form = pieces[at].partition(".")
                    affixes = "".join(pieces[:at]), "".join(pieces[at + 1 :])
                    parsed.append((group, None, letter, form, *affixes))
                group = 0 if close else group
            self._known[pattern] = parsed
        return parsed

    def fill(self, pattern: str, get: Callable[[str, str], list[Token]]) -> list[Token]:
        """Expand a pattern; `get(letter, form)` gives tokens, [] for an empty slot, whose [group] then vanishes."""
        parts, empty = [], set()
        for group, literal, letter, form, prefix, suffix in self._parse(pattern):
            if literal is not None:
                tokens = [Token(text, upos) for text, upos in literal]
            else:
                tokens = get(letter, form)
                if not tokens and group:
                    empty.add(group)
                if tokens and prefix:
                    tokens = [tokens[0]._replace(text=prefix + tokens[0].text), *tokens[1:]]
                if tokens and suffix:
                    tokens = [*tokens[:-1], tokens[-1]._replace(text=tokens[-1].text + suffix)]
            parts.append((group, tokens))
        return [token for group, tokens in parts if group not in empty or not group for token in tokens]


def _is_slot(piece: str) -> bool:
    return piece[:1].isascii() and piece[:1].isupper() and (len(piece) == 1 or piece[1] == ".")


@cache
def split(features: str) -> frozenset[str]:
    """The features of a text; `-` is none."""
    return frozenset(features.split()) - {"-"}
