"""Cut text into grapheme clusters, words and sentences, in any script.

Words follow Unicode word boundaries (UAX 29, by the `regex` module). Scripts written without spaces have no such words:
their runs are cut into pieces of two clusters, the smallest unit in which neighbours can be swapped. Python's `\\w` is
not used: it misses combining vowel signs and would cut Hindi, Thai, Tamil or vocalised Arabic words at every sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import regex

# ISO 15924 code -> Unicode script name: the scripts of XTREME's 40 languages
SCRIPTS = {
    "Latn": "Latin",
    "Cyrl": "Cyrillic",
    "Grek": "Greek",
    "Arab": "Arabic",
    "Hebr": "Hebrew",
    "Deva": "Devanagari",
    "Beng": "Bengali",
    "Taml": "Tamil",
    "Telu": "Telugu",
    "Mlym": "Malayalam",
    "Geor": "Georgian",
    "Hang": "Hangul",
    "Hani": "Han",
    "Hira": "Hiragana",
    "Kana": "Katakana",
    "Thai": "Thai",
    "Mymr": "Myanmar",
}
UNSPACED = frozenset({"Hani", "Hira", "Kana", "Thai", "Mymr"})
PIECE = 2  # clusters in a unit of an unspaced script

_CLUSTER = regex.compile(r"\X")
_BOUNDARY = regex.compile(r"(?V1w)\b")
_LETTER = regex.compile(r"\p{L}")
_WORD = regex.compile(r"[\p{L}\p{N}]")
_SCRIPT = [(code, regex.compile(rf"\p{{Script={name}}}")) for code, name in SCRIPTS.items()]
# full stops of XTREME's scripts; Thai has none and ends a clause with a space
_SENTENCE_END = regex.compile(r"[.!?؟۔।॥။]+[\p{Pe}\p{Pf}\"']*\s+|[。！？]+[\p{Pe}\p{Pf}]*\s*|\n+|(?<=\p{Thai})\s+")


@dataclass(frozen=True)
class Word:
    """A word, or a piece of an unspaced run: text[start:end], its clusters and the ISO 15924 script of its letters."""

    start: int
    end: int
    clusters: tuple[str, ...]
    script: str


def graphemes(text: str) -> list[str]:
    """Extended grapheme clusters of `text` (UAX 29); joined they give `text` again."""
    return _CLUSTER.findall(text)


@lru_cache(maxsize=65536)
def script_of(text: str) -> str:
    """ISO 15924 code of the first letter of `text`; "Zyyy" (common) when it has none of a known script."""
    letter = _LETTER.search(text)
    if letter:
        for code, pattern in _SCRIPT:
            if pattern.match(letter.group()):
                return code
    return "Zyyy"


def words(text: str) -> list[Word]:
    """Words of `text` in order: runs with a letter or a number; unspaced scripts in pieces of `PIECE` clusters."""
    cuts = {match.start() for match in _BOUNDARY.finditer(text)}
    found, current, start, position, unspaced = [], [], 0, 0, False

    def close() -> None:
        joined = "".join(current)
        if _WORD.search(joined):
            found.append(Word(start, start + len(joined), tuple(current), script_of(joined)))
        current.clear()

    for cluster in graphemes(text):
        was, unspaced = unspaced, script_of(cluster) in UNSPACED
        # inside an unspaced run only the length cuts; a word boundary of the standard may fall between any two letters
        if was != unspaced or (len(current) == PIECE if unspaced else position in cuts):
            close()
            start = position
        current.append(cluster)
        position += len(cluster)
    close()
    return found


def token(text: str) -> Word:
    """One token of a tagging example as one unit, however long and in whatever script."""
    return Word(0, len(text), tuple(graphemes(text)), script_of(text))


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of the sentences of `text`, covering it. A rule of thumb: an abbreviation's dot ends one too."""
    spans, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        spans.append((start, match.end()))
        start = match.end()
    if start < len(text):
        spans.append((start, len(text)))
    return spans
