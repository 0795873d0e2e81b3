"""Show a text with everything that a reader cannot see, and what changed between two texts, cluster by cluster."""

from __future__ import annotations

import difflib
from collections import Counter

import regex

from xstilts.attacks.segmentation import graphemes

EQUAL, REMOVED, ADDED = "equal", "removed", "added"

# abbreviations of the Unicode standard (NameAliases.txt); a character without one is shown by its number
NAMES = {
    0x0000: "NUL", 0x0008: "BS", 0x000D: "CR", 0x001B: "ESC", 0x007F: "DEL", 0x00A0: "NBSP", 0x00AD: "SHY",
    0x034F: "CGJ", 0x061C: "ALM", 0x180E: "MVS", 0x200B: "ZWSP", 0x200C: "ZWNJ", 0x200D: "ZWJ", 0x200E: "LRM",
    0x200F: "RLM", 0x2028: "LS", 0x2029: "PS", 0x202A: "LRE", 0x202B: "RLE", 0x202C: "PDF", 0x202D: "LRO",
    0x202E: "RLO", 0x202F: "NNBSP", 0x2060: "WJ", 0x2066: "LRI", 0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI",
    0xFEFF: "BOM",
} | {0xFE00 + n: f"VS{n + 1}" for n in range(16)} | {0xE0100 + n: f"VS{n + 17}" for n in range(240)}  # fmt: skip

# Controls, formats, private use, surrogates and what is not assigned (\p{C}); what has no shape; separators but the two
# ordinary spaces. Tabs and line feeds are as they look. An emoji's joiner is shown too: it is where a text can hide.
_UNSEEN = r"[\p{C}\p{Default_Ignorable_Code_Point}\p{Z}\u2800--[\t\n \u3000]]"
_HIDDEN = regex.compile(rf"(?V1){_UNSEEN}|(?<=(?:^|\s|{_UNSEEN})\p{{M}}*)\p{{M}}")
_RUN = regex.compile(r"\s+|\S+")
_PAIRS = 200_000  # pairs of equal items up to which two changed stretches are aligned: beyond, difflib takes seconds


def visible(text: str) -> str:
    """`text`, safe to print: invisible, bidi, control, tag, variation and private characters, unusual spaces, lone
    surrogates and combining marks that stand on no letter are tokens such as ⟨ZWSP⟩; ⟨U+E000⟩ has no short name.
    """
    return _HIDDEN.sub(lambda match: token(match.group()), text)


def token(character: str) -> str:
    """The name by which `visible` shows one character; a tag character (U+E0020 ...) by what it stands for."""
    code = ord(character)
    if 0xE0020 <= code < 0xE007F:
        return f"⟨TAG {chr(code - 0xE0000)}⟩"
    return f"⟨{NAMES.get(code, f'U+{code:04X}')}⟩"


def segments(before: str, after: str) -> list[tuple[str, str]]:
    """What to remove from and to add to `before` to get `after`: (EQUAL | REMOVED | ADDED, text) in reading order.

    Texts are cut into grapheme clusters, so no mark is torn off; without the ADDED parts it is `before`, without the
    REMOVED ones `after`. Runs without white space are compared first, then the clusters of those that differ.
    """
    found: list[tuple[str, str]] = []
    for kind, one, other in _blocks(_RUN.findall(before), _RUN.findall(after)):
        if kind == EQUAL:
            _add(found, EQUAL, one)
            continue
        for inner, removed, added in _blocks(graphemes(one), graphemes(other)):
            _add(found, EQUAL if inner == EQUAL else REMOVED, removed)
            _add(found, ADDED, "" if inner == EQUAL else added)
    return found


def _add(found: list[tuple[str, str]], kind: str, text: str) -> None:
    if text and found and found[-1][0] == kind:
        found[-1] = (kind, found[-1][1] + text)
    elif text:
        found.append((kind, text))


def _blocks(before: list[str], after: list[str]):
    """(EQUAL or "changed", joined items of `before`, of `after`), in order."""
    first, most = 0, min(len(before), len(after))
    while first < most and before[first] == after[first]:
        first += 1
    last = 0
    while last < most - first and before[-1 - last] == after[-1 - last]:
        last += 1
    same = "".join(before[:first])
    yield EQUAL, same, same
    left, right = before[first : len(before) - last], after[first : len(after) - last]
    counts = Counter(right)
    if sum(counts[item] for item in left) <= _PAIRS:
        for tag, a, b, c, d in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
            yield EQUAL if tag == "equal" else "changed", "".join(left[a:b]), "".join(right[c:d])
    elif len(left) == len(right):  # an attack that changes words leaves their number
        for one, other in zip(left, right, strict=True):
            yield EQUAL if one == other else "changed", one, other
    else:
        yield "changed", "".join(left), "".join(right)
    same = "".join(before[len(before) - last :])
    yield EQUAL, same, same


def difference(before: str, after: str, colour: bool = False) -> str:
    """One line of `segments` for a terminal, everything `visible`: removed red, added green; without `colour` in the
    notation of wdiff, [-removed-]{+added+}."""
    marks = {EQUAL: ("", ""), REMOVED: ("[-", "-]"), ADDED: ("{+", "+}")}
    if colour:
        marks = {EQUAL: ("", ""), REMOVED: ("\x1b[31;9m", "\x1b[0m"), ADDED: ("\x1b[32;1m", "\x1b[0m")}
    parts = [(marks[kind], visible(text)) for kind, text in segments(before, after)]
    return "".join(start + text + end for (start, end), text in parts)
