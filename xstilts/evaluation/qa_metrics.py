"""Exact match and F1 of answer strings: SQuAD v1.1's rules (XQuAD, TyDiQA) and MLQA's rules for each language.

Sources: SQuAD v1.1 `evaluate-v1.1.py`, MLQA `mlqa_evaluation_v1.py`, SQuAD 2.0 for questions without an answer.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from xstilts.errors import UserError

_ENGLISH = re.compile(r"\b(a|an|the)\b")
_MLQA_ARTICLES = {
    "en": _ENGLISH,
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    # MLQA's pattern also has a branch that can never match; what is left removes the letters everywhere in a word.
    "ar": re.compile("ال"),
    "hi": None,
    "zh": None,
}
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_HAN = re.compile("([\u4e00-\u9fa5])")


def normalise(text: str, rule: str, language: str) -> str:
    """Lower-case, drop punctuation and articles, collapse white space.

    `rule` "squad": ASCII punctuation and English articles in every language, as the SQuAD script does. `rule` "mlqa":
    all Unicode punctuation, the articles of `language`, and each Chinese character a token of its own.
    Raises `UserError` for a language that MLQA's script has no rule for.
    """
    if rule == "squad":
        return " ".join(_ENGLISH.sub(" ", text.lower().translate(_ASCII_PUNCTUATION)).split())
    if rule != "mlqa":
        raise UserError(f"options.normalisation: {rule!r} is unknown; allowed: squad, mlqa")
    if language not in _MLQA_ARTICLES:
        allowed = " ".join(sorted(_MLQA_ARTICLES))
        raise UserError(f"MLQA's normalisation has no rule for language {language!r}; allowed: {allowed}")
    text = "".join(c for c in text.lower() if c not in string.punctuation and unicodedata.category(c)[0] != "P")
    articles = _MLQA_ARTICLES[language]
    if articles:
        text = articles.sub(" ", text)
    if language == "zh":
        text = _HAN.sub(r" \1 ", text)
    return " ".join(text.split())


def _f1(predicted: str, gold: str) -> float:
    """F1 of white-space tokens, 0-1; 0 where either side has no token (SQuAD v1.1)."""
    predicted_tokens, gold_tokens = predicted.split(), gold.split()
    shared = sum((Counter(predicted_tokens) & Counter(gold_tokens)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(predicted_tokens), shared / len(gold_tokens)
    return 2 * precision * recall / (precision + recall)


def score_answer(predicted: str, answers: Sequence[str], rule: str, language: str) -> tuple[float, float]:
    """(exact match, F1) of one answer, 0-1, the best over `answers`; no answers: 1 for an empty prediction, else 0."""
    given = normalise(predicted, rule, language)
    if not answers:
        return (1.0, 1.0) if not given else (0.0, 0.0)
    right = [normalise(answer, rule, language) for answer in answers]
    return float(given in right), max(_f1(given, answer) for answer in right)


def scores(gold: Sequence[Sequence[str]], predicted: Sequence[str], rule: str, language: str) -> dict[str, np.ndarray]:
    """{"exact_match", "f1"}: arrays of shape (questions, 1), values 0-1, in the order of `gold`."""
    rows = [score_answer(text, answers, rule, language) for answers, text in zip(gold, predicted, strict=True)]
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return {"exact_match": table[:, :1], "f1": table[:, 1:]}
