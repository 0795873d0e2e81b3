"""What attacks that put one word in place of another agree on: what a word is, its script, its capital letter."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from xstilts.attacks import casing
from xstilts.attacks.proposals import Draft
from xstilts.attacks.segmentation import script_of

JAPANESE = {"Hira": "Jpan", "Kana": "Jpan"}  # a Japanese word may mix them, with Han too
JOINERS = "\u200c\u200d"  # part of the spelling of Persian and Indic words


def word_script(text: str) -> str:
    """ISO 15924 code of a word's letters, "Jpan" where it has kana; "" where it is no word of one script.

    A word here has letters and marks alone, a letter first, and joiners between: no digit, punctuation, symbol, space.
    """
    if not text or not _kind(text[0]) or text[-1] in JOINERS:
        return ""
    found = set()
    for character in text:
        kind = _kind(character)
        if kind is None:
            return ""
        if kind:
            found.add(kind)
    if found == {"Jpan", "Hani"}:
        return "Jpan"
    return found.pop() if len(found) == 1 else ""


def fitting(script: str) -> tuple[str, ...]:
    """The scripts of words that may stand for one of `script`: of a Japanese word with kana one of Han alone too."""
    return ("Jpan", "Hani") if script == "Jpan" else (script,)


@lru_cache(maxsize=65536)
def _kind(character: str) -> str | None:
    """Script of a letter; "" for what takes that of its letter (a mark, a joiner); None for anything else."""
    category = unicodedata.category(character)
    if character in JOINERS or category in ("Mn", "Mc"):
        return ""
    if not category.startswith("L"):
        return None
    if character == "ー":  # the long-vowel mark of kana is a letter without a script of its own
        return "Jpan"
    if character == "々":  # repeats a Han letter
        return "Hani"
    script = script_of(character)
    return None if script == "Zyyy" else JAPANESE.get(script, script)


def asked_script(text: str) -> str:
    """The script in which a replacement of `text` must be written: that of its first letter if it mixes several."""
    first = script_of(text)
    return word_script(text) or JAPANESE.get(first, first)


def replacements(word: str, candidates: Iterable[str], most: int, language: str = "") -> list[str]:
    """The first `most` of the candidates that are other words (not the same in another case), each once.

    They keep the word's capitals: an initial one, or all of them where the word has several letters. A candidate that
    has a capital of its own (a name, a German noun) keeps it. `language`: the code of the language of both.
    """
    folded, found = casing.fold(word, language), {}
    for candidate in candidates:
        if len(found) == most:
            break
        if casing.fold(candidate, language) != folded and (text := cased(word, candidate, language)) != word:
            found.setdefault(text)
    return list(found)


def cased(word: str, candidate: str, language: str = "") -> str:
    """`candidate` with the capitals of `word`, by the rules of their language."""
    if len(word) > 1 and word.isupper():
        return casing.upper(candidate, language)
    return casing.title(candidate, language) if word[:1].isupper() else candidate


def word_of(draft: Draft, number: int) -> str:
    """The text of a draft's unit."""
    return "".join(draft.units[number].word.clusters)


def most_candidates(identity: dict, default: int) -> int:
    """How many new texts a unit gets: the budget's number, else `default`."""
    return identity["budget"].get("candidates") or default
