"""The parts of an attack: words, sentences, whole clusters, distances, samples, transforms."""

import unicodedata

import pytest
from test_attacks import TEXTS

from xstilts.attacks import engine, outcomes
from xstilts.attacks.constraints import clusters_whole, units
from xstilts.attacks.segmentation import script_of, sentences, words
from xstilts.attacks.transforms import HOMOGLYPHS, TRANSFORMS


def test_words_keep_marks_and_cut_unspaced_scripts_in_pairs():
    assert ["".join(w.clusters) for w in words("ज़िंदगी अच्छी है।")] == ["ज़िंदगी", "अच्छी", "है"]
    assert ["".join(w.clusters) for w in words("Don't l'été 3.5")] == ["Don't", "l'été", "3.5"]
    assert ["".join(w.clusters) for w in words("我在IBM工作。")] == ["我在", "IBM", "工作"]
    assert [w.script for w in words("我在IBM Привет สวัสดี")] == ["Hani", "Latn", "Cyrl", "Thai", "Thai"]
    for text in TEXTS.values():
        assert all(text[w.start : w.end] == "".join(w.clusters) for w in words(text))
    assert script_of("123") == "Zyyy"


def test_sentences_cover_the_text():
    for text in [*TEXTS.values(), "One. Two! Three", "一。二！三", "पहला। दूसरा।", "هل؟ نعم."]:
        spans = sentences(text)
        assert "".join(text[a:b] for a, b in spans) == text
    assert len(sentences("One. Two! Three")) == 3 and len(sentences("一。二！三")) == 3


def test_a_swap_that_would_merge_clusters_is_refused():
    (unit,) = units({"text": "ab\u200dcd"}, ["text"])
    assert clusters_whole(unit, unit.word.clusters, "ab\u200dcd")
    assert not clusters_whole(unit, ("a", "\u0301", "c", "d"), "ab\u200dcd")
    jamo = ("\u1112", "x", "\u1161")
    (unit,) = units({"text": "".join(jamo)}, ["text"])
    assert not clusters_whole(unit, ("x", "\u1112", "\u1161"), "".join(jamo))


def test_edit_distance_and_similarity():
    assert outcomes.levenshtein("kitten", "sitting") == 3
    assert outcomes.levenshtein("", "abc") == 3 and outcomes.levenshtein("abc", "abc") == 0
    found = units({"text": "kitten runs"}, ["text"])
    assert outcomes.similarity(found, {}, 11) == 1
    assert outcomes.similarity(found, {0: "kittne"}, 11) == pytest.approx(1 - 2 / 11)
    assert outcomes.similarity(found, {0: "kit\u200bten"}, 11) == pytest.approx(1 - 1 / 12)


def test_sample_is_the_same_for_every_order_and_grows():
    ids = [f"test-{i}" for i in range(50)]
    few, more = engine.sample(ids, 5, 0), engine.sample(ids, 20, 0)
    assert len(few) == 5 and set(few) < set(more) and set(few) == set(engine.sample(ids[::-1], 5, 0))
    assert few != engine.sample(ids, 5, 1) and engine.sample(ids, 99, 0) == ids


def test_homoglyphs_survive_nfkc_and_transforms_never_propose_the_original():
    for letter, others in HOMOGLYPHS.items():
        assert letter not in others and all(unicodedata.normalize("NFKC", other) == other for other in others)
        assert all(script_of(other) != script_of(letter) for other in others)
    rng = engine.generator(0, "x")
    for transform in TRANSFORMS.values():
        for clusters in (("a", "a", "a", "a"), ("а", "b", "c"), tuple("Hello")):
            candidates = transform(clusters, 0, len(clusters), rng)
            assert clusters not in candidates and len(candidates) == len(set(candidates))
