"""Does a label still follow after a text was edited? Texts are read back to their meanings, and these are compared.

A reader forgives typing errors: a word that the language does not have is taken for the known words it could stand for.
Whatever then has a meaning is judged by it, as `inference` or the question's own logic would judge a fresh item.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice, pairwise, product

import regex

from xstilts.embedded import meaning, probe
from xstilts.embedded.grammar import grammar
from xstilts.embedded.inference import relation
from xstilts.embedded.meaning import NP, Clause
from xstilts.embedded.parse import WORD, Reading, readings, sentences
from xstilts.embedded.tasks.questions import SLOT, fits

HOLDS, BROKEN, UNCLEAR, UNREADABLE = "holds", "broken", "unclear", "unreadable"
SEEN = 6000  # sampled sentences whose words are taken for the vocabulary of a language
REPAIRS = 24  # ways to mend a sentence that are looked at
NLI = ("mnli", "xnli", "anli")
SAME = ("qqp", "pawsx")
QUESTIONS = ("squad", "squad_v2", "xquad", "mlqa", "tydiqa")
TAGS = ("udpos", "panx")
RETRIEVAL = ("tatoeba", "bucc2018")


# ------------------------------------------------------------ reading with typing errors
@cache
def vocabulary(language: str) -> frozenset[str]:
    """Lower-case words of many sentences; single characters where the script writes no spaces."""
    g = grammar(language)
    found: set[str] = set()
    for clause, template in probe.meanings(SEEN, 0):
        found.update(_units(g.sentence(clause, template), language))
    return frozenset(found)


def _units(text: str, language: str) -> list[str]:
    return WORD.findall(text.casefold()) if grammar(language).joiner else list(text.casefold())


@cache
def _deletions(language: str) -> dict[str, tuple[str, ...]]:
    """Words by what is left of them without one of their characters, and by themselves."""
    table: dict[str, list[str]] = {}
    for word in sorted(vocabulary(language)):
        for key in {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))}:
            table.setdefault(key, []).append(word)
    return {key: tuple(words) for key, words in table.items()}


@cache
def _neighbours(language: str) -> frozenset[tuple[str, str]]:
    """Pairs of characters that stand side by side in the sentences whose words make the vocabulary."""
    g = grammar(language)
    texts = (g.sentence(clause, template).casefold() for clause, template in probe.meanings(SEEN, 0))
    return frozenset(pair for text in texts for pair in pairwise(text))


@cache
def _rearranged(language: str) -> dict[str, tuple[str, ...]]:
    """Words by their sorted characters."""
    table: dict[str, list[str]] = {}
    for word in sorted(vocabulary(language)):
        table.setdefault("".join(sorted(word)), []).append(word)
    return {key: tuple(words) for key, words in table.items()}


def _swapped(a: str, b: str) -> bool:
    """Two neighbouring grapheme clusters swapped, a letter with its vowel sign being one."""
    one, two = (regex.findall(r"\X", text) for text in (a, b))
    places = [i for i, (x, y) in enumerate(zip(one, two, strict=False)) if x != y]
    return (
        len(one) == len(two)
        and len(places) == 2
        and places[1] == places[0] + 1
        and ([one[i] for i in places] == [two[i] for i in reversed(places)])
    )


def _one_edit(a: str, b: str) -> bool:
    """At most one character put in, left out or exchanged, or two neighbours swapped."""
    if abs(len(a) - len(b)) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rest_a, rest_b = a[start:], b[start:]
    if rest_a[1:] == rest_b[1:] or rest_a[1:] == rest_b or rest_a == rest_b[1:]:
        return True
    return len(rest_a) == len(rest_b) and rest_a[:2] == rest_b[1::-1] and rest_a[2:] == rest_b[2:]


def meant(word: str, language: str, original: Iterable[str] = ()) -> tuple[str, ...]:
    """Known words that an unknown one may stand for: one typing error away, or the same but for letters that look
    alike, are invisible or belong to another script. `original`: words that count as known too."""
    word = word.casefold()
    known = vocabulary(language) | {one.casefold() for one in original}
    if word in known:
        return (word,)
    plain = "".join(c for c in unicodedata.normalize("NFKC", word) if unicodedata.category(c) != "Cf")
    if plain in known:
        return (plain,)
    table, table_rearranged = _deletions(language), _rearranged(language)
    keys = {plain, *(plain[:i] + plain[i + 1 :] for i in range(len(plain)))}
    near = {one for key in keys for one in table.get(key, ())} | (known - vocabulary(language))
    near |= set(table_rearranged.get("".join(sorted(plain)), ()))
    near = {one for one in near if _one_edit(plain, one) or _swapped(plain, one)}
    if near:
        return tuple(sorted(near))
    alphabet = set("".join(vocabulary(language)))
    foreign = [i for i, c in enumerate(plain) if c not in alphabet]
    if not foreign or len(foreign) == len(plain):
        return ()
    alike = [
        one
        for one in known
        if len(one) == len(plain)
        and all(i in foreign or a == b for i, (a, b) in enumerate(zip(plain, one, strict=True)))
    ]
    return tuple(sorted(alike))


def read(language: str, sentence: str, original: str = "") -> tuple[Reading, ...]:
    """Readings of a sentence; where it has none, those of its mended forms. `original`: the text before the edit,
    whose words a reader of the language knows whatever the vocabulary holds."""
    found = readings(language, sentence)
    if found:
        return found
    return tuple(
        one for text in islice(_mended(language, sentence, original), REPAIRS) for one in readings(language, text)
    )


def restored(language: str, old: str | list[str], new: str | list[str]) -> bool:
    """Would every reader read the old text in the new one: does each changed word stand for the old one alone?"""
    if isinstance(old, str) and not grammar(language).joiner:
        return old == new
    before, after = (WORD.findall(text) if isinstance(text, str) else text for text in (old, new))
    return len(before) == len(after) and all(
        a.casefold() == b.casefold() or meant(b, language, before) == (a.casefold(),)
        for a, b in zip(before, after, strict=True)
    )


def _mended(language: str, sentence: str, original: str) -> Iterator[str]:
    """The sentence with its unknown words exchanged for known ones, every way."""
    if not grammar(language).joiner:
        usual = _neighbours(language) | set(pairwise(original.casefold()))
        for i in range(len(sentence) - 1):  # neighbours swapped back, where that gives usual neighbours
            text = sentence[:i] + sentence[i + 1] + sentence[i] + sentence[i + 2 :]
            if all(pair in usual for pair in pairwise(text[max(0, i - 1) : i + 3].casefold())):
                yield text
        return
    words = WORD.findall(sentence)
    known = WORD.findall(original)
    options = [meant(word, language, known) or (word,) for word in words]
    spans = [m.span() for m in WORD.finditer(sentence)]
    for choice in product(*options):
        out, at = [], 0
        for (start, end), word, old in zip(spans, choice, words, strict=True):
            out += [sentence[at:start], old if old.casefold() == word else word]
            at = end
        text = "".join(out) + sentence[at:]
        if text != sentence:
            yield text


def _paragraph(language: str, text: str, original: str) -> list[tuple[Reading, ...]] | None:
    """Readings of every sentence; None where one cannot be read."""
    found = [read(language, sentence, original) for _, sentence in sentences(language, text)]
    return found if found and all(found) else None


# ------------------------------------------------------------ labels
def verdict(generator: str, language: str, row: dict, **edited) -> str:
    """Does the label of `row` (as `embedded.generate` gives it) follow when these of its texts are replaced?

    `edited`: text_a, text_b, context, question, text or tokens. Returns `holds` (it follows from every reading),
    `broken` (from none), `unclear` (from some, or speakers could
    disagree, though it was clear before), `unreadable` (the text, mended as far as
    can be, is no sentence of the grammar).
    Supertags (ccg) and choices are not judged: KeyError.
    """
    edited = {key: _visible(text, row[key]) for key, text in edited.items()}
    if generator in JUDGED and edited and all(restored(language, row[key], text) for key, text in edited.items()):
        return HOLDS
    found = outcomes(generator, language, row, **edited)
    if found is None:
        return UNREADABLE
    if all(found):
        return HOLDS
    if None in found and True not in found:
        return UNCLEAR  # readers could disagree
    # Where the language does not tell readings apart (a and the), the item as it was is no clearer.
    vague = any(found) and not all(outcomes(generator, language, row) or [])
    return HOLDS if vague else (UNCLEAR if any(found) else BROKEN)


def _visible(new: str | list[str], old: str | list[str]) -> str | list[str]:
    """Without the invisible characters that were put in: a reader does not see them."""
    if isinstance(new, list):
        return [_visible(word, "".join(old)) for word in new]
    return "".join(c for c in new if unicodedata.category(c) != "Cf" or c in old)


def outcomes(generator: str, language: str, row: dict, **edited) -> list[bool | None] | None:
    """For each reading of the (edited) item: does its label follow? (None: speakers could disagree.) None for all where
    a text cannot be read. See `verdict`."""
    judge = next((function for names, function in JUDGES if generator in names), None)
    if judge is None:
        raise KeyError(f"{generator}: no validity check; there is one for {', '.join(sorted(JUDGED))}")
    return judge(language, row, {**row, **edited})


def _nli(language: str, row: dict, new: dict) -> list[bool | None] | None:
    premises = _paragraph(language, new["text_a"], row["text_a"])
    hypotheses = read(language, new["text_b"], row["text_b"])
    if premises is None or not hypotheses:
        return None
    labels = [
        relation([c for one in story for c in (one.clause, one.second) if c is not None], h.clause)
        for h in hypotheses
        for story in islice(product(*premises), REPAIRS)
    ]
    return [None if label is None else label == row["label"] for label in labels]


def _canonical(reading: Reading) -> frozenset:
    """What a sentence or question says, whatever the wording: order of joined parts, synonyms, the asked slot."""
    clauses = [c for c in (reading.clause, reading.second) if c is not None]
    return frozenset((reading.asked, _plain(c)) for c in clauses)


def _plain(c: Clause) -> tuple:
    if c.pred == "purchase":
        c = c._replace(pred="buy")
    if c.subj.kind == "and":
        c = c._replace(subj=NP("and", None, *sorted((c.subj.head, c.subj.adj), key=repr)))
    return meaning.skeleton(c)


def _same(language: str, row: dict, new: dict) -> list[bool] | None:
    sides = [read(language, new[key], row[key]) for key in ("text_a", "text_b")]
    if not all(sides):
        return None
    left, right = ({_canonical(one) for one in side} for side in sides)
    return [(a == b) == (row["label"] == "1") for a in left for b in right]


def _answered(language: str, row: dict, new: dict) -> list[bool] | None:
    story = _paragraph(language, new["context"], row["context"])
    asked = read(language, new["question"], row["question"])
    if story is None or not asked or any(one.asked not in SLOT for one in asked):
        return None
    gold = {answer["text"] for answer in row["answers"]}
    texts = [sentence for _, sentence in sentences(language, new["context"])]
    found = []
    for question in asked:
        for facts in islice(product(*story), REPAIRS):
            hits = [k for k, fact in enumerate(facts) if fits(fact.clause, question.clause, question.asked)]
            if not row["answers"]:
                found.append(not hits)
                continue
            start, end = facts[hits[0]].spans.get(SLOT[question.asked][1], (0, 0)) if hits else (0, 0)
            found.append(len(hits) == 1 and texts[hits[0]][start:end] in gold)
    return found


def _tagged(language: str, row: dict, new: dict) -> list[bool] | None:
    """Each word still stands for the word that has the tag."""
    if len(row["tokens"]) != len(new["tokens"]):
        return None
    found = []
    for old, word in zip(row["tokens"], new["tokens"], strict=True):
        if old.casefold() != word.casefold():
            candidates = meant(word, language, row["tokens"])
            if not candidates:
                return None
            found.append(old.casefold() in candidates)
    return found or [True]


def _translated(language: str, row: dict, new: dict) -> list[bool] | None:
    before, after = read(language, row["text"]), read(language, new["text"], row["text"])
    if not before or not after:
        return None
    meanings = {_canonical(one) for one in before}
    return [_canonical(one) in meanings for one in after]


JUDGES = ((NLI, _nli), (SAME, _same), (QUESTIONS, _answered), (TAGS, _tagged), (RETRIEVAL, _translated))
JUDGED = frozenset(name for names, _ in JUDGES for name in names)
