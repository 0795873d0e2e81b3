"""Cut text into grapheme clusters, words and sentences, in any script.

Words follow Unicode word boundaries (UAX 29, by the `regex` module). Runs of scripts that are written without spaces
(Han, kana, Thai, Burmese) are cut by the dictionaries of ICU (icu4py). Python's `\\w` is not used: it misses combining
vowel signs and would cut Hindi, Thai, Tamil or vocalised Arabic words at every sign.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate

import regex

from xstilts.errors import UserError

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

# UAX 29 leaves most spacing marks of Burmese out of its clusters (U+102B, U+102C, U+1038 and those of its minorities),
# which no reader takes for letters: they stay with what they follow
_CLUSTER = regex.compile(r"\X(?:(?=\p{Mc})(?<![\p{GCB=Control}\r\n])\X)*")
_BOUNDARY = regex.compile(r"(?V1w)\b")
_LETTER = regex.compile(r"\p{L}")
_WORD = regex.compile(r"[\p{L}\p{N}]")
_SCRIPT = [(code, regex.compile(rf"\p{{Script={name}}}")) for code, name in SCRIPTS.items()]
# by script extensions, so that the long-vowel mark of kana belongs to its word; letters and marks only, no stops
_UNSPACED = regex.compile(
    r"(?V1)[[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Thai}\p{scx=Myanmar}]&&[\p{L}\p{M}\p{N}]]"
)
_LOCALES = {"Thai": "th", "Mymr": "my", "Hira": "ja", "Kana": "ja", "Hani": "zh"}
# full stops of XTREME's scripts; Thai has none and ends a clause with a space
_SENTENCE_END = regex.compile(r"[.!?؟۔।॥။]+[\p{Pe}\p{Pf}\"']*\s+|[。！？]+[\p{Pe}\p{Pf}]*\s*|\n+|(?<=\p{Thai})\s+")


@dataclass(frozen=True)
class Word:
    """A word: text[start:end], its clusters and the ISO 15924 script of its letters."""

    start: int
    end: int
    clusters: tuple[str, ...]
    script: str


def graphemes(text: str) -> list[str]:
    """Extended grapheme clusters of `text` (UAX 29), every spacing mark with its letter; joined they give `text` again.

    The vowels of Thai that stand beside their consonant (U+0E30, U+0E32, U+0E40-0E45) are letters, each a cluster.
    """
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


def words(text: str, language: str = "") -> list[Word]:
    """Words of `text` in order: stretches with a letter or a number.

    `language` (code): the locale of ICU's word breaker for runs without spaces; "": chosen by the run's script.
    Raises UserError when such a run is met and icu4py is not installed.
    """
    cuts = {match.start() for match in _BOUNDARY.finditer(text)}
    found, current, start, position, unspaced = [], [], 0, 0, False

    def close() -> None:
        joined = "".join(current)
        if unspaced:
            found.extend(_dictionary_words(current, joined, start, language))
        elif _WORD.search(joined):
            found.append(Word(start, position, tuple(current), script_of(joined)))
        current.clear()

    for cluster in graphemes(text):
        now = _is_unspaced(cluster)
        # inside an unspaced run a boundary of the standard may fall between any two letters
        if now != unspaced or (not now and position in cuts):
            close()
            start = position
        unspaced = now
        current.append(cluster)
        position += len(cluster)
    close()
    return found


@lru_cache(maxsize=65536)
def _is_unspaced(cluster: str) -> bool:
    return _UNSPACED.match(cluster) is not None


def _dictionary_words(clusters: list[str], run: str, start: int, language: str) -> list[Word]:
    """Words of one run without spaces that starts at `start`, cut between clusters only."""
    ends = set(_breaks(run, language))
    found, current, first, position = [], [], 0, 0
    for cluster in clusters:
        current.append(cluster)
        position += len(cluster)
        if position in ends or position == len(run):
            word = "".join(current)
            if _WORD.search(word):
                found.append(Word(start + first, start + position, tuple(current), script_of(word)))
            current, first = [], position
    return found


@lru_cache(maxsize=4096)
def _breaks(run: str, language: str) -> tuple[int, ...]:
    """Ends of ICU's words in `run`, in code points (ICU counts UTF-16 code units)."""
    locale = language or next((_LOCALES[script_of(c)] for c in run if script_of(c) in ("Hira", "Kana")), "")
    locale = locale or _LOCALES.get(script_of(run), "")
    ends = [end for _, end in _breaker()(run, locale or "en").segments()]
    if run.isascii() or max(run) <= "\uffff":
        return tuple(ends)
    units = list(accumulate(1 + (character > "\uffff") for character in run))
    return tuple(bisect_left(units, end) + 1 for end in ends)


@cache
def _breaker() -> type:
    try:
        from icu4py.breakers import WordBreaker  # not needed for languages that write spaces
    except ImportError as error:
        raise UserError(
            "attacks: words of Chinese, Japanese, Thai and Burmese need the package icu4py, which is not installed. "
            "Next: `pip install icu4py==1.2.0`, or leave these languages out of the attack."
        ) from error
    return WordBreaker


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
