"""The official metrics: hand-computed cases and values of seqeval 0.0.12 (random ones: test_score_reference.py)."""

import random

import numpy as np
import pytest

from xstilts.errors import UserError
from xstilts.evaluation import metrics, qa_metrics, tagging_metrics

RANDOM_SUBMISSIONS = 250


# ---- accuracy
def test_accuracy_by_hand():
    assert metrics.score("pair", {}, "en", ["0", "1", "1", "0"], ["0", "1", "0", "0"]) == {"accuracy": 75.0}


# ---- chunks; the expected F1 values are seqeval 0.0.12's own
def chunks(text):
    """All chunks of sentences separated by |."""
    return set().union(*tagging_metrics.chunks([sentence.split() for sentence in text.split("|")]))


@pytest.mark.parametrize(
    ("gold", "given", "f1"),
    [
        ("SCONJ SCONJ NOUN NOUN X X DET", "SCONJ SCONJ NOUN PROPN X X NOUN", 54.545455),
        ("O I-PER I-PER I-LOC B-LOC O|B-ORG I-ORG", "O B-PER I-PER I-LOC I-LOC O|B-ORG I-LOC", 25.0),
        ("INTJ INTJ SYM INTJ AUX", "INTJ SYM SYM INTJ AUX", 66.666667),
    ],
)
def test_chunk_f1_equals_seqeval_0_0_12(gold, given, f1):
    gold, given = ([sentence.split() for sentence in text.split("|")] for text in (gold, given))
    assert metrics.score("tagging", {}, "en", gold, given)["f1"] == pytest.approx(f1, abs=1e-6)


def test_equal_neighbours_merge_except_tags_that_begin_with_s():
    assert chunks("NOUN NOUN SYM SYM") == {("NOUN", 0, 1), ("SYM", 2, 2), ("SYM", 3, 3)}


def test_the_one_letter_tag_counts():
    assert chunks("X X O") == {("X", 0, 1)}


@pytest.mark.parametrize(
    ("tags", "expected"),  # seqeval 0.0.12's own `get_entities`; an "O" follows each sentence
    [
        ("S-A|. .-PER E-PER", {("A", 0, 0), ("PER", 0, 4)}),
        ("X-O|Y-O", set()),
        ("S- I- X-", {("", 0, 0), ("", 1, 2)}),
        ("O|E-PER E-PER|I-B", {("PER", 2, 2), ("PER", 3, 3), ("B", 5, 5)}),
        ("L-PER U-PER E-O|B-O", {("PER", 0, 1), ("O", 2, 2), ("O", 4, 4)}),
        (". - .|-PER PER-", {("", 1, 1), ("PER", 4, 4), ("", 5, 5)}),
    ],
)
def test_odd_tags_make_the_chunks_that_seqeval_makes(tags, expected):
    assert chunks(tags) == expected


def test_a_chunk_counts_in_the_sentence_where_it_ends():
    tags = [["S-A"], [], [".", ".-PER", "E-PER"]]
    assert tagging_metrics.counts(tags, tags).tolist() == [[1, 1, 1], [0, 0, 0], [1, 1, 1]]
    given = [["S-B"], [], ["O", "O", "O"]]
    assert tagging_metrics.counts(tags, given).tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 1]]


# ---- rounding
def test_sums_are_rounded_as_a_loop_rounds_them():
    values = [0.1] * 10 + [1e16, 1.0, -1e16]
    expected = 0.0
    for value in values:
        expected += value
    assert metrics.total(values) == expected != pytest.approx(2.0, abs=0.5)
    assert metrics.mean(values) == expected / 13
    right = np.array([[1]] * 7 + [[0]] * 18)
    assert metrics.aggregate(right) == 7 / 25 * 100 != metrics.aggregate(right.astype(float)) == 100 * 7 / 25


# ---- answers
def test_squad_rules_hold_in_every_language():
    assert qa_metrics.score_answer("The Eiffel-Tower!", ["eiffeltower"], "squad", "th") == (1.0, 1.0)
    assert qa_metrics.score_answer("der Turm", ["Turm"], "squad", "de") == (0.0, pytest.approx(2 / 3))
    assert qa_metrics.score_answer("东京塔", ["东京"], "squad", "zh") == (0.0, 0.0)


def test_best_gold_answer_counts():
    assert qa_metrics.score_answer("two cats", ["dogs", "cats", "two black cats"], "squad", "en")[1] == pytest.approx(
        0.8
    )


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "The cat, an «animal».", "cat animal"),
        ("es", "Unos gatos y la casa", "gatos y casa"),
        ("de", "Die Mitte des Turms, eine", "mitte turms"),
        ("vi", "cái nhà của tôi", "nhà tôi"),
        ("ar", "البيت والمدينة", "بيت و مدينة"),
        ("hi", "यह एक घर है।", "यह एक घर है"),
        ("zh", "在2008年，北京 Olympics", "在 2008 年 北 京 olympics"),
    ],
)
def test_mlqa_rules_of_each_language(language, text, expected):
    assert qa_metrics.normalise(text, "mlqa", language) == expected


def test_mlqa_refuses_other_languages():
    with pytest.raises(UserError, match=r"'th'.*ar de en es hi vi zh"):
        qa_metrics.normalise("x", "mlqa", "th")


def test_unanswerable_questions_want_an_empty_answer():
    assert qa_metrics.score_answer("", [], "squad", "en") == (1.0, 1.0)
    assert qa_metrics.score_answer("Paris", [], "squad", "en") == (0.0, 0.0)
    assert qa_metrics.score_answer("", ["Paris"], "squad", "en") == (0.0, 0.0)


# ---- mining
def test_mining_f1_by_hand():
    gold = [("de-1", "en-1"), ("de-2", "en-2"), ("de-3", "en-3")]
    given = [("de-1", "en-1"), ("de-2", "en-9"), ("de-7", "en-3"), ("de-1", "en-1")]
    score = metrics.score("retrieval", {"mining": "margin"}, "de", gold, given)
    assert score["f1"] == pytest.approx(100 / 3)
    assert metrics.pair_counts(gold, []).tolist() == [[0, 0, 1]] * 3


def test_random_mining_f1_and_rows_that_do_not_depend_on_the_system():
    rng = random.Random(5)
    for _ in range(RANDOM_SUBMISSIONS):
        gold = {(f"s{i}", f"t{i}") for i in rng.sample(range(20), rng.randint(1, 10))}
        given = [(f"s{rng.randrange(20)}", f"t{rng.randrange(20)}") for _ in range(rng.randint(0, 15))]
        given += rng.sample(sorted(gold), rng.randint(0, len(gold)))
        counts = metrics.pair_counts(gold, given)
        assert len(counts) == len(gold)
        shared = len(gold & set(given))
        expected = 200 * shared / (len(gold) + len(set(given)))
        assert metrics.aggregate(counts) == pytest.approx(expected, abs=1e-9)
