"""Every transform on real text of every language of Tatoeba: what it may do to words, clusters and letters."""

import json
import unicodedata
from collections import Counter
from functools import cache

import pytest
import yaml
from conftest import ROOT

from xstilts.attacks import alphabets, constraints, keyboards
from xstilts.attacks.proposals import Draft
from xstilts.attacks.segmentation import graphemes
from xstilts.attacks.transforms import TRANSFORMS, characters, proposer
from xstilts.attacks.units import apply, units

SENTENCES = 30  # of each language
TEXTS = 6  # candidates of a unit that are checked
ROWS = yaml.safe_load((ROOT / "catalog" / "languages.yaml").read_text(encoding="utf-8"))
LETTERS = {"swap", "substitute", "insert", "delete", "key"}
UNSEEN = {"invisible", "deletion", "reorder"}  # what they insert ends a word by Unicode's rules, but is not seen
RECUT = 5  # words more or less that ICU's dictionaries find in a changed stretch without spaces
INNER = {"min_length": 3, "keep_first": True, "keep_last": True, "letters_only": True, "by_script": {}}
ANY = {"min_length": 1, "keep_first": False, "keep_last": False, "letters_only": False, "by_script": {}}
ATTACKS = ("charswap", "deepwordbug", "pruthi", "textbugger")


@cache
def sentences(real_root):
    """Language code -> its first sentences, NFC."""
    found = {}
    for path in sorted((real_root / "tatoeba").glob("*/test.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()[:SENTENCES]
        found[path.parent.name] = [unicodedata.normalize("NFC", json.loads(line)["source_sentence"]) for line in lines]
    assert len(found) >= 30
    return found


@cache
def language(code):
    return {**ROWS[code], "code": code, "alphabet": alphabets.of(code), "keyboard": keyboards.of(code)}


def drafts(texts, code, rules, seed=1):
    made = []
    for number, text in enumerate(texts):
        example = {"id": f"{code}-{number}", "text": text, "other": text}
        found = units(example, ["text"], code)
        spans = {i: span for i, unit in enumerate(found) if (span := constraints.editable(unit, rules))}
        made.append(Draft(example, "retrieval", ["text"], found, spans, language(code), seed))
    return made


@cache
def proposed(name, real_root, code, inner=False):
    """(draft, its proposal) of each sentence of the language."""
    made = drafts(sentences(real_root)[code], code, INNER if inner else ANY)
    return list(zip(made, proposer({"transform": [name]})(made), strict=True))


def candidates(name, real_root, inner=False):
    """(language, draft, unit, its clusters, new text) of every candidate that is checked."""
    for code in sentences(real_root):
        for draft, proposal in proposed(name, real_root, code, inner):
            for index, texts in proposal.texts.items():
                for text in texts[:TEXTS]:
                    yield code, draft, index, proposal.units[index].word.clusters, text


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_a_changed_text_has_as_many_words(name, real_root):
    seen = 0
    for code, draft, index, clusters, text in candidates(name, real_root):
        seen += 1
        if TRANSFORMS[name].one_word:
            assert not any(map(str.isspace, text)), (code, text)
        if name in UNSEEN:
            continue
        changed = apply(draft.example, draft.units, {index: text})
        more = len(units(changed, ["text"], code)) - len(draft.units)
        # without spaces a changed letter may move the words around it: only how far is known
        limits = (0, 0) if ROWS[code]["spaces"] else (-RECUT, RECUT)
        limits = limits if TRANSFORMS[name].one_word else (1, 1)
        assert limits[0] <= more <= limits[1], (code, clusters, text)
    assert seen > 100


def stacks(text):
    """Characters with the marks that follow them, by Unicode category and not by the rules of clusters."""
    found = []
    for character in text:
        if found and unicodedata.category(character)[0] == "M":
            found[-1] += character
        else:
            found.append(character)
    return Counter(found)


@pytest.mark.parametrize("name", ["swap", "delete", "insert", "space", "invisible", "deletion", "reorder"])
def test_no_mark_leaves_its_letter(name, real_root):
    marked = 0
    for code, _, _, clusters, text in candidates(name, real_root):
        old = stacks("".join(clusters))
        new = {stack for stack in stacks(text) - old if len(stack) > 1}
        marked += any(len(stack) > 1 for stack in old)
        assert not new or (name == "insert" and len(new) == 1 and new <= set(language(code)["alphabet"])), (code, text)
    assert marked > 100


@pytest.mark.parametrize("name", sorted(name for name, one in TRANSFORMS.items() if one.checks_clusters))
def test_clusters_stay_whole_in_their_place(name, real_root):
    for code, draft, index, clusters, text in candidates(name, real_root):
        word, whole = draft.units[index].word, draft.example["text"]
        before, after = whole[: word.start], whole[word.end :]
        parts = graphemes(before) + graphemes(text) + graphemes(after)
        assert graphemes(before + text + after) == parts, (code, clusters, text)


def test_letters_are_moved_added_and_removed_one_at_a_time(real_root):
    for name in ("swap", "delete", "insert", "substitute", "key"):
        for code, _, _, clusters, text in candidates(name, real_root):
            old, new = Counter(clusters), Counter(graphemes(text))
            gone, come = (old - new).total(), (new - old).total()
            expected = {"swap": (0, 0), "delete": (1, 0), "insert": (0, 1)}.get(name, (1, 1))
            assert (gone, come) == expected, (name, code, clusters, text)
            if name in ("insert", "substitute"):
                (letter,) = new - old
                letters = language(code)["alphabet"]
                upper = {characters.like(one, "A", language(code)) for one in letters}
                assert letter in {*letters, *upper}, (code, letter)


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_first_and_last_letter_stay_where_asked(name, real_root):
    for code, _, _, clusters, text in candidates(name, real_root, inner=True):
        assert text.startswith(clusters[0]) and text.endswith(clusters[-1]), (code, clusters, text)


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_the_same_seed_gives_the_same_candidates_in_any_company(name, real_root):
    differs = 0
    for code, texts in sentences(real_root).items():
        first = [proposal.texts for _, proposal in proposed(name, real_root, code)]
        alone = drafts(texts, code, ANY)[3:4]
        assert [p.texts for p in proposer({"transform": [name]})(alone)] == first[3:4]
        other = drafts(texts[:4], code, ANY, seed=2)
        differs += [p.texts for p in proposer({"transform": [name]})(other)] != first[:4]
    if name in LETTERS:
        assert differs > 30


@pytest.mark.parametrize("attack", ATTACKS)
def test_most_sentences_of_every_language_can_be_attacked(attack, real_root):
    identity = yaml.safe_load((ROOT / f"catalog/attacks/{attack}.yaml").read_text(encoding="utf-8"))["identity"]
    names = [name for name in identity["transform"] if name in TRANSFORMS]
    for code, texts in sentences(real_root).items():
        made = drafts(texts, code, identity["constraints"])
        found = proposer({**identity, "transform": names})(made)
        assert sum(bool(proposal.texts) for proposal in found) >= 0.6 * len(texts), code


def test_adjacent_keys_are_missed_in_every_language_with_a_layout(real_root):
    for code, texts in sentences(real_root).items():
        found = [proposal for _, proposal in proposed("key", real_root, code) if proposal.texts]
        # a few Latin letters aside, zh ja my have no layout
        assert not keyboards.of(code) or len(found) >= 0.6 * len(texts), code


def test_words_of_real_text_lie_where_they_stand(real_root):
    for code, texts in sentences(real_root).items():
        for text in texts:
            found = [unit.word for unit in units({"text": text}, ["text"], code)]
            assert all(text[word.start : word.end] == "".join(word.clusters) for word in found)
            left = text
            for word in reversed(found):
                left = left[: word.start] + left[word.end :]
            assert not any(unicodedata.category(c)[0] == "L" for c in left), (code, left)


def test_alphabets_hold_the_letters_of_real_text(real_root):
    for code, texts in sentences(real_root).items():
        text = "".join(texts)
        if code == "tr":
            text = text.replace("I", "ı").replace("İ", "i")
        letters = [c for c in unicodedata.normalize("NFC", text.lower()) if unicodedata.category(c)[0] == "L"]
        known = set("".join(alphabets.of(code)))
        share = sum(letter in known for letter in letters) / len(letters)
        # syllables and characters without end: the alphabet is a selection
        assert share >= {"zh": 0.4, "ja": 0.7, "ko": 0.7}.get(code, 0.97), (code, share)
