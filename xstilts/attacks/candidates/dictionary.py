"""Code-mixing word by word (PolyGloss, Tan & Joty 2021, arXiv 2103.09593): dictionary translations of each word.

Options of the attack: `filter: reference` keeps a translation that occurs in the example's translation in that language
(needs parallel text); `none` keeps all. `ignore`: language -> words that stay as they are. `stand_ins.languages`: those
that are mixed in; left out: all that the example has a translation in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from unicodedata import normalize

import regex

from xstilts.attacks import casing
from xstilts.attacks.proposals import Draft, Proposal, Proposer, Resources
from xstilts.attacks.segmentation import UNSPACED, script_of, words
from xstilts.attacks.units import Unit, text_of
from xstilts.errors import UserError

REFERENCE, NONE = "reference", "none"
_WORDLIKE = regex.compile(r"[\p{L}\p{M}\p{N}]")


def proposer(identity: dict, resources: Resources) -> Proposer:
    """For each word that may change, its translations into the embedded languages, in turns: best of each first.

    Which language has the first turn is drawn anew for each word. An example without parallel text gets an empty
    proposal. UserError: no dictionaries, an unknown filter, or no languages where nothing else names them.
    """
    options, languages = identity.get("options") or {}, mixed_in(identity)
    wanted = options.get("filter", REFERENCE)
    if wanted not in (REFERENCE, NONE):
        raise UserError(f"options: filter: {wanted!r} is unknown; allowed: {REFERENCE}, {NONE}")
    if resources.translate is None:
        raise UserError("stand_ins: dictionaries: none is given; this attack needs them, such as [embedded]")
    if wanted == NONE and languages is None:
        raise UserError("stand_ins: languages: none is given; with `filter: none` this attack needs a list of them")
    ignored = {code: {fold(word, code) for word in listed} for code, listed in (options.get("ignore") or {}).items()}

    def propose(drafts: list[Draft]) -> list[Proposal]:
        return [_proposal(draft, wanted, languages, ignored, resources) for draft in drafts]

    return propose


def _proposal(
    draft: Draft, wanted: str, languages: list[str] | None, ignored: dict[str, set[str]], resources: Resources
) -> Proposal:
    own = draft.language["code"]
    rows = translations(draft, resources, languages)
    targets = sorted(rows) if wanted == REFERENCE else [code for code in languages if code != own]
    texts = {}
    for index in draft.ranges:
        unit = draft.units[index]
        word = "".join(unit.word.clusters)
        if fold(word, own) in ignored.get(own, ()):
            continue
        order = list(targets)
        draft.rng(index, "languages").shuffle(order)
        columns = []
        for code in order:
            found = resources.translate(word, own, code)
            if wanted == REFERENCE and found:
                there = reference(rows[code][unit.field], code)
                found = [text for text in (there.spelt(text) for text in found) if text]
            columns.append(found)
        kept = in_turn(draft.example, unit, columns)
        if kept:
            texts[index] = kept
    return Proposal(draft.units, texts)


def mixed_in(identity: dict) -> list[str] | None:
    """The attack's embedded languages; None: all that there are."""
    return (identity.get("stand_ins") or {}).get("languages") or None


def translations(draft: Draft, resources: Resources, languages: list[str] | None) -> dict[str, dict]:
    """Language -> the same example in it, of those in `languages` (None: all) with the same gold label and fields.

    An item whose label differs between languages (PAWS-X) is not the same item in both.
    """
    example, own = draft.example, draft.language["code"]
    return {
        code: row
        for code, row in (resources.parallel or {}).get(str(example["id"]), {}).items()
        if code != own
        and (languages is None or code in languages)
        and row.get("label") == example.get("label")
        and all(isinstance(row.get(field), str) for field in draft.fields)
    }


def in_turn(example: dict, unit: Unit, columns: list[list[str]]) -> list[str]:
    """The columns' texts in turn, fitted into the unit's place; distinct, none equal to what stands there."""
    turns = (text for turn in zip_longest(*columns) for text in turn if text)
    whole = text_of(example, unit)
    old = whole[unit.word.start : unit.word.end]
    return [text for text in dict.fromkeys(fitted(whole, unit, text) for text in turns) if text.strip() != old]


def fitted(whole: str, unit: Unit, text: str) -> str:
    """`text` with a space on each side where it would touch a letter and either of both is of a script with spaces.

    Chinese, Japanese, Thai and Burmese words have no spaces around them: two changed neighbours would become one word.
    Each is fitted as if the other stood as it was: between two changed neighbours there are two spaces.
    """
    before, after = whole[: unit.word.start][-1:], whole[unit.word.end :][:1]
    return " " * _apart(before, text[0]) + text + " " * _apart(text[-1], after)


def _apart(left: str, right: str) -> bool:
    if not (_WORDLIKE.match(left) and _WORDLIKE.match(right)):
        return False
    return not (script_of(left) in UNSPACED and script_of(right) in UNSPACED)


@dataclass(frozen=True)
class Reference:
    """A text as its words, without case: where does a word or phrase stand in it?

    folded: the folded words, one space between two that are apart in the text. starts, ends: offset in `folded` of each
    word's start and end -> its offset in `text`. language: the code of the text's.
    """

    text: str
    language: str
    folded: str
    starts: dict[int, int]
    ends: dict[int, int]

    def spelt(self, phrase: str) -> str:
        """`phrase` if it occurs here as whole words, else "".

        Within the text it is spelt as there (a German dictionary may write its nouns small), at the text's start, where
        a capital says nothing, as it was given. A capital that `phrase` begins with stays.
        """
        key, at = fold_words(phrase, self.language), -1
        at_start = False
        while key and (at := self.folded.find(key, at + 1)) >= 0:
            if at in self.starts and at + len(key) in self.ends:
                if at == 0:
                    at_start = True
                    continue
                there = self.text[self.starts[at] : self.ends[at + len(key)]]
                return casing.title(there, self.language) if phrase[:1].isupper() else there
        return phrase if at_start else ""


@lru_cache(maxsize=4096)
def reference(text: str, language: str) -> Reference:
    """`text` for look-ups, cut into words by the rules of `language`."""
    folded, starts, ends, last = "", {}, {}, None
    for word in words(text, language):
        if last is not None and word.start > last:
            folded += " "
        starts[len(folded)] = word.start
        folded += fold("".join(word.clusters), language)
        ends[len(folded)] = last = word.end
    return Reference(text, language, folded, starts, ends)


def fold(word: str, language: str) -> str:
    """`word` without case by the rules of its language, composed (NFC): dictionaries and texts may write a letter and
    its mark differently."""
    return normalize("NFC", casing.fold(word, language))


def fold_words(phrase: str, language: str) -> str:
    """`phrase` as it would stand in `Reference.folded`: words without case, one space for all that is between them."""
    folded, last = "", None
    for word in words(phrase):
        folded += " " * (last is not None and word.start > last) + fold("".join(word.clusters), language)
        last = word.end
    return folded
