"""Bilingual word lists: read from two-column files or taken from the embedded lexicons.

A file `en-de` has one pair a line, UTF-8, the English word first: separated by a tab or, where a line has none, by
white space (MUSE's files have both). A word may have several lines; an earlier one is a better translation. Where files
lie: `dictionary_files.available`.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path

from xstilts.embedded import lexicon
from xstilts.errors import UserError

EMBEDDED = "embedded"
CONTENT = frozenset({"NOUN", "PROPN", "VERB", "ADJ", "ADV"})
NO_WORD = frozenset({"class", "cl"})  # of a lexicon's forms: a note on grammar; a classifier of Chinese
Table = dict[str, list[str]]


def fold(text: str) -> str:
    """The key under which a word is looked up: NFC without case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


class Dictionaries:
    """`files`: pair ("en-de") -> path of its file, or "embedded". Raises UserError for a file that cannot be read.

    A pair also serves its reverse, unless that is listed itself; its translations then keep the order of the lines.
    """

    def __init__(self, files: dict[str, str | Path]):
        self._tables: dict[tuple[str, str], Table] = {}
        listed = {}
        for pair, path in files.items():
            listed[_codes(pair)] = str(path)
        for (source, target), path in listed.items():
            rows = _embedded(source, target) if path == EMBEDDED else _read(Path(path))
            self._tables[source, target] = _table(rows)
            if (target, source) not in listed:
                back = _embedded(target, source) if path == EMBEDDED else [(two, one) for one, two in rows]
                self._tables[target, source] = _table(back)

    def pairs(self) -> list[tuple[str, str]]:
        """(source, target) of all directions that can be asked for, sorted."""
        return sorted(self._tables)

    def translate(self, word: str, source: str, target: str) -> list[str]:
        """Distinct translations, best first; [] where there is none. Case does not count; an initial capital is kept, a
        German noun's too. A translation that only repeats the word is left out.
        """
        found = self._tables.get((source, target), {}).get(fold(word), [])
        if word[:1].isupper():
            found = list(dict.fromkeys(text[:1].title() + text[1:] for text in found))
        return [text for text in found if fold(text) != fold(word)]


def _codes(pair: str) -> tuple[str, str]:
    source, dash, target = pair.partition("-")
    if not (source and dash and target) or source == target:
        raise UserError(f"dictionaries: {pair!r} is no pair; allowed: two different language codes, such as en-de")
    return source, target


def _read(path: Path) -> list[tuple[str, str]]:
    rows = []
    try:
        with open(path, encoding="utf-8-sig") as handle:
            for number, line in enumerate(handle, 1):
                if not line.strip():
                    continue
                cells = [cell.strip() for cell in (line.split("\t") if "\t" in line else line.split())]
                if len(cells) != 2 or not all(cells):
                    raise UserError(
                        f"{path}:{number}: {line.strip()[:80]!r} is no pair of words; allowed: two columns separated "
                        "by a tab"
                    )
                rows.append((cells[0], cells[1]))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: the dictionary cannot be read ({error.strerror})") from error
    if not rows:
        raise UserError(f"{path}: holds no pair of words")
    return rows


def _table(rows: list[tuple[str, str]]) -> Table:
    table: dict[str, dict[str, None]] = {}
    for word, translation in rows:
        table.setdefault(fold(word), {})[translation] = None
    return {word: list(translations) for word, translations in table.items()}


def _embedded(source: str, target: str) -> list[tuple[str, str]]:
    """Content words of the lexicons' concepts: every form of a concept to every form of it, its first form first.

    Lexicons do not say which forms of two languages correspond. A word of several tokens is a translation, but
    no source; function words are in no concept and so have no translation.
    """
    for code in (source, target):
        if code not in lexicon.languages():
            raise UserError(
                f"dictionaries: {source}-{target}: no embedded lexicon for {code!r}; allowed: "
                f"{', '.join(lexicon.languages())}"
            )
    return [
        (word, translation)
        for one, other in zip(_forms(source), _forms(target), strict=True)
        for word in one
        if not any(character.isspace() for character in word)
        for translation in other
    ]


@cache
def _forms(language: str) -> list[list[str]]:
    """For each concept, in the order that all lexicons share, the content words of its different forms."""
    words = lexicon.load(language)
    joiner = words.grammar["joiner"]
    found = []
    for category, concepts in sorted(lexicon.concepts().items()):
        if category not in words.words:
            continue
        for concept in concepts:
            forms = words.words[category][concept]
            texts = (
                joiner.join(text for text, upos in tokens if upos in CONTENT)
                for name, tokens in forms.items()
                if name not in NO_WORD
            )
            found.append(list(dict.fromkeys(text for text in texts if text)))
    return found
