"""Upper, lower and title case and case folding by the rules of a language, where Unicode's default mapping differs.

Unicode SpecialCasing and CLDR: Turkish pairs i with İ and ı with I; Greek capitals have no tonos but keep the
dialytika; Dutch ij is one letter at a word's beginning. All other languages: Python's own mapping.
"""

from __future__ import annotations

import unicodedata

import regex

_DOTTED = frozenset({"tr", "az"})  # languages with İ i and I ı
_TONOS = regex.compile(r"\u0301")


def upper(text: str, language: str) -> str:
    """`text` in capitals. `language`: a code; a Greek text is returned composed (NFC)."""
    if language in _DOTTED:
        text = text.replace("i", "İ")  # ı -> I is Unicode's own
    if language == "el":
        text = unicodedata.normalize("NFC", _TONOS.sub("", unicodedata.normalize("NFD", text)))
    return text.upper()


def lower(text: str, language: str) -> str:
    """`text` in lower case."""
    return _undotted(text, language).lower()


def title(text: str, language: str) -> str:
    """`text` with its first letter as a capital, its accent kept; the rest as it is."""
    if language == "nl" and text[:2].lower() == "ij":
        return "IJ" + text[2:]
    if language in _DOTTED and text[:1] == "i":
        return "İ" + text[1:]
    return text[:1].title() + text[1:]


def fold(text: str, language: str) -> str:
    """`text` without case, to compare texts of one language with each other."""
    return _undotted(text, language).casefold()


def _undotted(text: str, language: str) -> str:
    """Where a language has İ and I, both in lower case."""
    return text.replace("I\u0307", "i").replace("İ", "i").replace("I", "ı") if language in _DOTTED else text
