"""Leave out commas and what ends a sentence: a mild control, in every script. Options: `marks`, of `MARKS`.

Words are the draft's; the units here are runs of punctuation, so a search never changes both at one place. Nothing in
the sentence of a gold answer is proposed. A token stays a token: one that is punctuation alone becomes an ellipsis
where it ends a sentence and stays where it does not.
"""

from __future__ import annotations

import regex

from xstilts.attacks.proposals import Draft, Proposal, Proposer, Resources
from xstilts.attacks.segmentation import UNSPACED, Word, graphemes, script_of
from xstilts.attacks.units import Unit, answer_sentences, meets, text_of
from xstilts.errors import UserError

ELLIPSIS = "…"
# Unicode's Sentence_Terminal holds the Burmese comma too, and Greek ends a question with a semicolon
_FINAL = r"\p{Sentence_Terminal}\u037e…--[၊]"
MARKS = {
    "comma": regex.compile(r"(?V1)[,;،؛、，；၊\uff64]"),
    "final": regex.compile(rf"(?V1)[{_FINAL}]+"),
}
_GREEK_FINAL = regex.compile(rf"(?V1)[{_FINAL};]+")
_JOINS = regex.compile(r"[\p{L}\p{M}\p{N}]")


def proposer(identity: dict, resources: Resources) -> Proposer:
    """One text for each run of punctuation: none, or a space where two words would become one. UserError: an unknown
    mark in `options.marks` (default: all)."""
    marks = (identity.get("options") or {}).get("marks") or list(MARKS)
    for mark in marks:
        if mark not in MARKS:
            raise UserError(f"options: marks: {mark!r} is unknown; allowed: {', '.join(MARKS)}")
    return lambda drafts: [_proposal(draft, marks) for draft in drafts]


def _proposal(draft: Draft, marks: list[str]) -> Proposal:
    found, texts = list(draft.units), {}
    for field in draft.fields:
        value = draft.example[field]
        if isinstance(value, list):
            texts |= _tokens(draft, field, marks)
            continue
        guards = answer_sentences(draft.example) if field == "context" else []
        for start, end, new in _runs(value, marks, draft.language):
            if not meets(start, end, guards):
                texts[len(found)] = [new]
                found.append(Unit(field, None, Word(start, end, tuple(graphemes(value[start:end])), "Zyyy")))
    return Proposal(found, texts)


def _pattern(mark: str, language: dict) -> regex.Pattern:
    return _GREEK_FINAL if mark == "final" and language.get("code") == "el" else MARKS[mark]


def _runs(text: str, marks: list[str], language: dict) -> list[tuple[int, int, str]]:
    """(start, end, new text) of the runs to leave out, in order. Inside a number, an abbreviation or an address an
    ASCII mark stands before no space; it stays."""
    found: dict[tuple[int, int], str] = {}
    for mark in marks:
        for match in _pattern(mark, language).finditer(text):
            start, end = match.span()
            before, after = text[start - 1 : start], text[end : end + 1]
            if not before.strip() or (match.group().isascii() and _JOINS.match(after)):
                continue
            apart = (
                _JOINS.match(before) and _JOINS.match(after) and not {script_of(before), script_of(after)} & UNSPACED
            )
            found[start, end] = " " if apart else ""
    return [(*span, new) for span, new in sorted(found.items())]


def _tokens(draft: Draft, field: str, marks: list[str]) -> dict[int, list[str]]:
    """Tokens are units of the draft already."""
    if "final" not in marks:
        return {}
    final = _pattern("final", draft.language)
    return {
        number: [ELLIPSIS]
        for number, unit in enumerate(draft.units)
        if unit.field == field and (text := text_of(draft.example, unit)) != ELLIPSIS and final.fullmatch(text)
    }
