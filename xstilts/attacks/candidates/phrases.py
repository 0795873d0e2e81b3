"""Code-mixing phrase by phrase (Bumblebee, Tan & Joty 2021, arXiv 2103.09593): phrases of the example's translations.

The words of a field are aligned with those of its translation; phrase pairs consistent with the alignment (Koehn, Och,
Marcu 2003) give the candidates. Option of the attack: `max_length`, words of a phrase on either side. Embedded
languages as in `dictionary`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from xstilts.attacks.candidates.dictionary import fold, in_turn, mixed_in, translations
from xstilts.attacks.proposals import Draft, Proposal, Proposer, Resources
from xstilts.attacks.segmentation import Word, graphemes, words
from xstilts.attacks.units import Unit, answer_sentences, meets
from xstilts.errors import UserError

MAX_LENGTH = 4
Span = tuple[int, int]  # first word, last word + 1
Links = list[tuple[int, int]]


def proposer(identity: dict, resources: Resources) -> Proposer:
    """Units: the draft's words and its phrases of several words; texts: their aligned phrases, languages in turns.

    Words are aligned by `resources.align` or, without it, by the dictionaries. A phrase never meets the sentence of a
    gold answer. An example without parallel text gets an empty proposal. UserError: nothing to align with.
    """
    longest, languages = (identity.get("options") or {}).get("max_length", MAX_LENGTH), mixed_in(identity)
    if resources.align is None and resources.translate is None:
        raise UserError("stand_ins: neither encoder nor dictionaries; this attack aligns words by one of them")

    def propose(drafts: list[Draft]) -> list[Proposal]:
        jobs = [
            (number, field, code, row[field])
            for number, draft in enumerate(drafts)
            for code, row in sorted(translations(draft, resources, languages).items())
            for field in draft.fields
        ]
        pairs = []
        for number, field, code, text in jobs:
            own = [word for word, _ in _words(drafts[number], field)]
            pairs.append((_texts(own), _texts(_cut(text, code))))
        if resources.align is not None:
            links = resources.align(pairs) if pairs else []
        else:
            links = [
                by_dictionary(one, other, drafts[number].language["code"], code, resources.translate)
                for (number, _, code, _), (one, other) in zip(jobs, pairs, strict=True)
            ]
        found: list[dict[tuple[str, Span], dict[str, list[str]]]] = [{} for _ in drafts]
        for (number, field, code, text), aligned, (one, other) in zip(jobs, links, pairs, strict=True):
            cut = _cut(text, code)
            for span, (first, last) in extract(aligned, len(one), len(other), longest, tight=resources.align is None):
                phrase = text[cut[first].start : cut[last - 1].end]
                found[number].setdefault((field, span), {}).setdefault(code, []).append(phrase)
        return [_proposal(draft, phrases) for draft, phrases in zip(drafts, found, strict=True)]

    return propose


def _proposal(draft: Draft, phrases: dict[tuple[str, Span], dict[str, list[str]]]) -> Proposal:
    units, texts = list(draft.units), {}
    for (field, span), by_language in sorted(phrases.items()):
        index = _unit(draft, units, field, span)
        if index is None:
            continue
        order = sorted(by_language)
        draft.rng(field, *span, "languages").shuffle(order)
        kept = in_turn(draft.example, units[index], [by_language[code] for code in order])
        if kept:
            texts[index] = kept
    return Proposal(units, texts)


def _unit(draft: Draft, units: list[Unit], field: str, span: Span) -> int | None:
    """The number of the unit of a span of words, added to `units` where it is no word; None: it may not change.

    At least one of its words may be changed by the constraints, the others may be ones that are only too short or
    without a letter, such as a number within a phrase.
    """
    found = _words(draft, field)[slice(*span)]
    if not any(number in draft.ranges for _, number in found):
        return None
    if len(found) == 1:
        return found[0][1]
    first, last = found[0][0], found[-1][0]
    if field == "context" and meets(first.start, last.end, answer_sentences(draft.example)):
        return None
    text = draft.example[field][first.start : last.end]
    units.append(Unit(field, None, Word(first.start, last.end, tuple(graphemes(text)), first.script)))
    return len(units) - 1


def _words(draft: Draft, field: str) -> list[tuple[Word, int]]:
    """The words of one field with their units' numbers."""
    return [(unit.word, number) for number, unit in enumerate(draft.units) if unit.field == field]


@lru_cache(maxsize=4096)
def _cut(text: str, language: str) -> list[Word]:
    return words(text, language)


def _texts(found: list[Word]) -> tuple[str, ...]:
    return tuple("".join(word.clusters) for word in found)


def extract(links: Links, source: int, target: int, longest: int, tight: bool = False) -> list[tuple[Span, Span]]:
    """Phrase pairs consistent with an alignment of `source` with `target` words, sorted: Koehn, Och, Marcu 2003.

    Both phrases have 1 to `longest` words, at least one link, and no link from one of them to a word outside the other.
    Of a source phrase the pair with the fewest unaligned words at the edges of the target phrase comes first. `tight`:
    no phrase begins or ends with a word without a link. For alignments that leave out most words, as dictionaries do:
    there such a word may well belong to another.
    """
    linked, sources = {j for _, j in links}, {i for i, _ in links}
    found = []
    for first in range(source):
        for last in range(first + 1, min(source, first + longest) + 1):
            inside = [j for i, j in links if first <= i < last]
            if not inside or (tight and not {first, last - 1} <= sources):
                continue
            low, high = min(inside), max(inside) + 1
            if any(low <= j < high and not first <= i < last for i, j in links):
                continue
            for start in [low] if tight else _free(low, linked, -1, target):
                for end in [high - 1] if tight else _free(high - 1, linked, 1, target):
                    if end + 1 - start <= longest:
                        found.append((low - start + end + 1 - high, (first, last), (start, end + 1)))
    return [(span, other) for _, span, other in sorted(found, key=lambda item: (item[1], item[0], item[2]))]


def _free(edge: int, linked: set[int], step: int, total: int) -> list[int]:
    """`edge` and the positions next to it, in direction `step`, that have no link."""
    reached = [edge]
    while 0 <= reached[-1] + step < total and reached[-1] + step not in linked:
        reached.append(reached[-1] + step)
    return reached


def by_dictionary(one: tuple[str, ...], other: tuple[str, ...], source: str, target: str, translate: Callable) -> Links:
    """Links of equal words and dictionary translations, no word twice: of several, the one nearest to the diagonal."""
    places: dict[str, list[int]] = {}
    for j, word in enumerate(other):
        places.setdefault(fold(word, target), []).append(j)
    candidates = []
    for i, word in enumerate(one):
        keys = dict.fromkeys(fold(text, target) for text in (word, *translate(word, source, target)))
        for rank, key in enumerate(keys):
            for j in places.get(key, ()):
                candidates.append((abs((i + 0.5) / len(one) - (j + 0.5) / len(other)), rank, i, j))
    links, used_one, used_other = [], set(), set()
    for _, _, i, j in sorted(candidates):
        if i not in used_one and j not in used_other:
            links.append((i, j))
            used_one.add(i)
            used_other.add(j)
    return sorted(links)
