"""The official metrics: hand-computed cases, values of seqeval 0.0.12, and random submissions against references."""

import random
import re
import string
import unicodedata
from collections import Counter

import numpy as np
import pytest

from xstilts.errors import UserError
from xstilts.evaluation import metrics, qa_metrics, tagging_metrics

UPOS = ["ADJ", "ADP", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "PART", "PROPN", "SCONJ", "SYM", "VERB", "X"]
IOB = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
RANDOM_SUBMISSIONS = 250


# ---- accuracy
def test_accuracy_by_hand():
    assert metrics.score("pair", {}, "en", ["0", "1", "1", "0"], ["0", "1", "0", "0"]) == {"accuracy": 75.0}


def test_random_accuracy_is_the_share_of_equal_lines():
    rng = random.Random(1)
    for _ in range(RANDOM_SUBMISSIONS):
        gold = [rng.choice("abc") for _ in range(rng.randint(1, 30))]
        given = [rng.choice("abc") for _ in gold]
        expected = sum(map(str.__eq__, gold, given)) / len(gold) * 100
        options = {"mining": "nearest"}
        assert metrics.score("retrieval", options, "de", gold, given)["accuracy"] == pytest.approx(expected, abs=1e-9)


# ---- chunks; the expected F1 values are seqeval 0.0.12's own
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
    assert tagging_metrics.chunks(["NOUN", "NOUN", "SYM", "SYM"]) == {("NOUN", 0, 1), ("SYM", 2, 2), ("SYM", 3, 3)}


def test_the_one_letter_tag_counts():
    assert tagging_metrics.chunks(["X", "X", "O"]) == {("X", 0, 1)}


def _reference_chunks(tags):
    """Another way to the same rule: for each gap, does a chunk end; for each token, does one start."""
    found, open_at = set(), None
    padded = [("O", "O"), *((tag[0], tag.split("-")[-1]) for tag in tags), ("O", "O")]
    for position in range(1, len(padded)):
        (letter, kind), (next_letter, next_kind) = padded[position - 1], padded[position]
        inside = letter != "O"
        breaks = letter == "S" or (next_letter in ("B", "S", "O") and letter in ("B", "I")) or kind != next_kind
        if inside and breaks:
            found.add((kind, open_at, position - 2))
        if next_letter != "O" and (next_letter in ("B", "S") or not inside or breaks):
            open_at = position - 1
    return found


@pytest.mark.parametrize("tagset", [UPOS, IOB])
def test_random_chunk_f1(tagset):
    rng = random.Random(2)
    for _ in range(RANDOM_SUBMISSIONS):
        gold = [[rng.choice(tagset) for _ in range(rng.randint(1, 9))] for _ in range(rng.randint(1, 5))]
        given = [[tag if rng.random() < 0.7 else rng.choice(tagset) for tag in sentence] for sentence in gold]
        right = {(i, *chunk) for i, tags in enumerate(gold) for chunk in _reference_chunks(tags)}
        found = {(i, *chunk) for i, tags in enumerate(given) for chunk in _reference_chunks(tags)}
        expected = 200 * len(right & found) / (len(right) + len(found)) if right or found else 0.0
        assert metrics.score("tagging", {}, "en", gold, given)["f1"] == pytest.approx(expected, abs=1e-9)


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


def _reference_normalise(text, rule):
    """Character by character; articles by token. English only."""
    kept = []
    for char in text.lower():
        if char in string.punctuation or (rule == "mlqa" and unicodedata.category(char).startswith("P")):
            continue
        kept.append(char)
    return [word for word in "".join(kept).split() if word not in ("a", "an", "the")]


@pytest.mark.parametrize("rule", ["squad", "mlqa"])
def test_random_answers(rule):
    rng = random.Random(3)
    words = ["a", "the", "Cat", "cat", "sat.", "on,", "«mat»", "2,000", "—", "dog's", "", "An"]
    for _ in range(RANDOM_SUBMISSIONS):
        gold = [[_phrase(rng, words) for _ in range(rng.randint(1, 3))] for _ in range(rng.randint(1, 6))]
        given = [_phrase(rng, words) for _ in gold]
        exact, f1 = [], []
        for answers, text in zip(gold, given, strict=True):
            pairs = [(_reference_normalise(text, rule), _reference_normalise(answer, rule)) for answer in answers]
            exact.append(any(p == g for p, g in pairs))
            f1.append(max(_dice(p, g) for p, g in pairs))
        found = metrics.score("span_qa", {"normalisation": rule}, "en", gold, given)
        assert found["exact_match"] == pytest.approx(100 * np.mean(exact), abs=1e-9)
        assert found["f1"] == pytest.approx(100 * np.mean(f1), abs=1e-9)


def _phrase(rng, words):
    return " ".join(rng.choice(words) for _ in range(rng.randint(0, 5)))


def _dice(left, right):
    shared = sum(min(left.count(word), right.count(word)) for word in set(left))
    return 2 * shared / (len(left) + len(right)) if shared else 0.0


def test_random_chinese_answers_count_characters():
    rng = random.Random(4)
    for _ in range(RANDOM_SUBMISSIONS):
        gold, given = ("".join(rng.choice("北京东西，ab 1") for _ in range(rng.randint(1, 8))) for _ in range(2))
        tokens = [re.findall("[\u4e00-\u9fa5]|[a-z0-9]+", text.replace("，", "")) for text in (gold, given)]
        shared = sum((Counter(tokens[0]) & Counter(tokens[1])).values())
        expected = 2 * shared / (len(tokens[0]) + len(tokens[1])) if shared else 0.0
        assert qa_metrics.score_answer(given, [gold], "mlqa", "zh")[1] == pytest.approx(expected)


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
