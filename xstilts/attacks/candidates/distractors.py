"""Distracting sentences for questions, after AddSent (Jia & Liang 2017, arXiv 1707.07328), in any language.

A sentence of another passage of the same file that looks like the question is put at the end of the context (option
`place: start`: before it). Like AddSent's, it shares words with the question and does not answer it; unlike them, it is
neither made from the question by rules nor corrected by people. `stand_ins.languages`: languages whose parallel
passages the sentences come from; left out: the example's own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from unicodedata import normalize

import regex

from xstilts.attacks import casing
from xstilts.attacks.proposals import Draft, Proposal, Proposer, Resources
from xstilts.attacks.segmentation import UNSPACED, Word, script_of, sentences, words
from xstilts.attacks.units import Unit
from xstilts.errors import UserError

PLACES = ("end", "start")
CLEAR = 4  # characters from which an answer is looked for inside words too: inflected, in a compound
_OTHER = regex.compile(r"[^\p{L}\p{M}\p{N}]+")
_NO_SPACE = UNSPACED - {"Thai", "Mymr"}  # these write no space between sentences either


def proposer(identity: dict, resources: Resources) -> Proposer:
    """One unit, the place to insert at; texts: the `budget.candidates` sentences most like the question, best first.

    Options: `place`; `least_words` and `most_words` of a sentence. An example whose question has no word in common with
    any sentence gets an empty proposal. UserError: an unknown place, or no passages.
    """
    options = identity.get("options") or {}
    place = options.get("place", PLACES[0])
    if place not in PLACES:
        raise UserError(f"options: place: {place!r} is unknown; allowed: {', '.join(PLACES)}")
    languages = (identity.get("stand_ins") or {}).get("languages") or []
    if languages and resources.parallel is None:
        raise UserError("stand_ins: languages: the target has no parallel text; leave them out")
    if not languages and resources.passages is None:
        raise UserError("this attack needs the passages of the file under attack")
    lengths = (options.get("least_words", 1), options.get("most_words", math.inf))
    indices: dict[str, Index] = {}

    def index(code: str, own: bool) -> Index:
        if code not in indices:
            passages = resources.passages if own else None
            if passages is None:
                passages = [rows[code]["context"] for rows in resources.parallel.values() if code in rows]
            indices[code] = Index(passages, code, lengths)
        return indices[code]

    def propose(drafts: list[Draft]) -> list[Proposal]:
        most = identity["budget"]["candidates"]
        return [_proposal(draft, place, languages, most, index, resources.parallel or {}) for draft in drafts]

    return propose


def _proposal(
    draft: Draft, place: str, languages: list[str], most: int | None, index: Callable, parallel: dict
) -> Proposal:
    example, own = draft.example, draft.language["code"]
    rows = parallel.get(str(example["id"]), {})
    versions = {code: rows[code] for code in languages if code in rows and code != own}
    if not languages or own in languages:
        versions[own] = example
    # an answer must be in the sentence in no language: a name is often the same in several
    answers = [answer["text"] for row in (example, *versions.values()) for answer in row.get("answers", [])]
    scored = []
    for code, row in sorted(versions.items()):
        scored += index(code, code == own).like(row, answers, most)
    best = sorted(scored, key=lambda item: (-item[0], item[1]))[:most]
    context = example["context"]
    texts = list(dict.fromkeys(joined(context, sentence, place) for _, sentence in best))
    at = len(context) if place == "end" else 0
    unit = Unit("context", None, Word(at, at, (), script_of(context)))
    return Proposal([*draft.units, unit], {len(draft.units): texts} if texts else {})


def joined(context: str, sentence: str, place: str) -> str:
    """What is inserted: `sentence` and, where the script writes one and none is there, a space towards the context."""
    if not context:
        return sentence
    if place == "end":
        spaced = context[-1].isspace() or script_of(context) in _NO_SPACE
        return sentence if spaced else f" {sentence}"
    spaced = context[0].isspace() or script_of(sentence) in _NO_SPACE
    return sentence if spaced else f"{sentence} "


@dataclass
class Index:
    """The sentences of some passages in one language, by their words. `lengths`: fewest and most words of a sentence.

    A word weighs log(sentences / sentences with it): inverse document frequency over the file.
    """

    passages: list[str]
    language: str
    lengths: tuple[float, float]
    found: list[tuple[str, int]] = field(default_factory=list)  # sentence, its first passage
    holders: dict[str, list[int]] = field(default_factory=dict)  # word -> numbers of sentences
    norms: list[float] = field(default_factory=list)  # length of each sentence's vector of weights

    def __post_init__(self) -> None:
        self.passages = list(dict.fromkeys(self.passages))
        seen, cuts = set(), []
        for number, passage in enumerate(self.passages):
            for start, end in sentences(passage):
                text = passage[start:end].strip()
                cut = vocabulary(text, self.language)
                if text in seen or not self.lengths[0] <= sum(cut.values()) <= self.lengths[1]:
                    continue
                seen.add(text)
                for word in cut:
                    self.holders.setdefault(word, []).append(len(self.found))
                self.found.append((text, number))
                cuts.append(cut)
        self.norms = [math.sqrt(sum(self.weight(word) ** 2 for word in cut)) for cut in cuts]

    def weight(self, word: str) -> float:
        """How rare a word of the file is."""
        return math.log(len(self.found) / len(self.holders[word]))

    def like(self, row: dict, answers: list[str], most: int | None) -> list[tuple[float, str]]:
        """(score, sentence) of up to `most` sentences most like the row's question, best first.

        Score: cosine of the vectors of weights, a word counted once, but for the question's length. None is of the
        row's own passage, of one that holds it or a sentence with its answer, or holds an answer itself. Ties: the
        shorter sentence, then by text.
        """
        dots: Counter[int] = Counter()
        for word in vocabulary(row["question"], self.language):
            for number in self.holders.get(word, ()):
                dots[number] += self.weight(word) ** 2
        ranked = sorted(
            (-round(dot / self.norms[number], 9), len(self.found[number][0]), self.found[number])
            for number, dot in dots.items()
            if dot
        )
        banned = forbidden(row)
        kept: list[tuple[float, str]] = []
        clear: dict[int, bool] = {}
        for score, _, (text, passage) in ranked:
            if len(kept) == most:
                break
            if passage not in clear:
                whole = self.passages[passage]
                clear[passage] = whole not in row["context"] and not any(part in whole for part in banned)
            # a short sentence may stand in the row's own passage as well
            if clear[passage] and text not in row["context"] and not holds(text, answers):
                kept.append((-score, text))
        return kept


def forbidden(row: dict) -> list[str]:
    """Texts that mark a passage as the row's own: its context, and its sentences that meet a gold answer."""
    context = row["context"]
    spans = [(answer["start"], answer["start"] + len(answer["text"])) for answer in row.get("answers", [])]
    parts = [
        context[start:end].strip()
        for start, end in sentences(context)
        if any(start < last and first < end for first, last in spans)
    ]
    return [part for part in (context, *parts) if part]


@lru_cache(maxsize=4096)
def vocabulary(text: str, language: str) -> Counter[str]:
    """The words of `text`, NFKC and without case, and how often each occurs."""
    return Counter(casing.fold(normalize("NFKC", "".join(word.clusters)), language) for word in words(text, language))


def plain(text: str) -> str:
    """Letters, marks and numbers alone, NFKC and without case, one space for everything between them."""
    return _OTHER.sub(" ", normalize("NFKC", text).casefold()).strip()


def holds(text: str, answers: list[str]) -> bool:
    """True where `text` holds one of `answers`, whatever the case and the punctuation.

    Short answers count as whole words only: "9" is not in "1990". In scripts without spaces every answer counts.
    """
    folded = plain(text)
    for answer in map(plain, answers):
        anywhere = len(answer) >= CLEAR or script_of(answer) in UNSPACED
        if answer and (answer in folded if anywhere else f" {answer} " in f" {folded} "):
            return True
    return False
