"""Learned shallow methods for pairs and choices of texts: word counts and word overlap, no encoder, no weights.

Linear models over words are what Gururangan et al. 2018 (arXiv 1803.02324) and Poliak et al. 2018 (1805.01042) found
annotation artefacts with; trees over overlap and negation see the heuristics of McCoy et al. 2019 (HANS, 1902.01007).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import regex

from xstilts.analysis.overlap import tokens

SEED = 0
ROWS = 5000  # training examples read at most: seconds on one core for MNLI's 393 k, and five features need no more
PAIR_METHODS = ("hypothesis_only", "overlap_trees", "overlap_negation_trees", "bag_of_words")

# whole words that negate, as regular expressions on what `overlap.tokens` returns ("isn't" gives "isn" and "t")
NEGATION = {
    "en": "not?|never|none|nobody|nothing|nowhere|neither|nor|without|cannot|t",
    "de": r"nicht|nichts|kein\w*|nie|niemals|niemand\w*|nirgends|nirgendwo|weder|ohne",
    "es": r"no|ni|nunca|jamás|nadie|nada|ningún|ningun[oa]s?|sin|tampoco",
    "ru": r"не|ни|нет|без|нельзя|никогда|нигде|никто|никого|никому|никем|ничто|ничего|ничему|никак\w*",
    "ar": "[وف]?(?:لا|لم|لن|ليس|ليست|ليسوا|ليسا|لسن|لست|غير|بدون|دون)",
    "hi": "नहीं|नही|न|ना|मत|बिना|बगैर",
    "zh": "[不没沒无無未勿]",
    # a verb is negated by its prefix: ha-...-i (present), haku-, haja- (past); the words left out merely look so
    "sw": r"si|sio|siyo|hapana|hakuna|hamna|hana|hawana|hatuna|sina|huna|bila|kamwe|wala|haku\w+|haja\w+"
    r"|(?!(?:habari|hatari|hadi|halisi|hali|haki|hai|hayawani)$)ha\w+i",
}
# words for two, three, ... in order; one is left out, being an article in many languages
NUMBERS = {
    "en": "two three four five six seven eight nine ten",
    "de": "zwei(?:en|er)? drei(?:en|er)? vier fünf sechs sieben acht neun zehn",
    "es": "dos tres cuatro cinco seis siete ocho nueve diez",
    "ru": "дв(?:а|е|ух|ум|умя|ое) тр(?:и|ёх|ех|ём|ем|емя|ое) четыр(?:е|ёх|ех|ём|ем|ьмя) пят(?:ь|и|ью) шест(?:ь|и|ью) "
    "сем(?:ь|и|ью) восемь|восьми девят(?:ь|и|ью) десят(?:ь|и|ью)",
    "ar": "اثن(?:ا|ان|تا|تان|ين|تين) ثلاثة? أربعة? خمسة? ستة? سبعة? ثماني(?:ة|ن)? تسعة? عشرة?",
    "hi": "दो तीन चार पाँच|पांच छह|छः|छे सात आठ नौ दस",
    "zh": "[二两兩] 三 四 五 六 七 八 九 十",
    "sw": r"(?:wa)?wili|\w{0,2}mbili (?:wa|mi|vi|ma)?tatu (?:wa|mi|vi|ma)?nne (?:wa|mi|vi|ma)?tano sita saba "
    "(?:wa|mi|vi|ma)?nane tisa kumi",
}

Predict = Callable[[Sequence[dict], str], list]  # (examples, their language) -> labels


def artefacts(train: Sequence[dict], test: Sequence[dict], language: str = "en") -> dict[str, float]:
    """How far shallow methods get on `test` after `train`: {method of PAIR_METHODS: accuracy 0-100}.

    train, test: rows {"text_a", "text_b", "label"}, both in `language` (which chooses the negation and number words).
    Accuracies well above the most frequent label's share say what can be answered without reading both texts with
    understanding. Raises ValueError where either is empty.
    """
    if not train or not test:
        raise ValueError("artefacts: train and test need at least one row each")
    gold = [row["label"] for row in test]
    return {
        name: 100 * float(np.mean([a == b for a, b in zip(predict(test, language), gold, strict=True)]))
        for name, predict in pairs(train, language).items()
    }


def pairs(train: Sequence[dict], language: str = "en") -> dict[str, Predict]:
    """The trained methods of PAIR_METHODS, each (rows, language) -> one label a row; {} without training rows.

    hypothesis_only: logistic regression on words and word bigrams of text_b alone (the second sentence of a
    paraphrase). bag_of_words: the same on words of text_a, of text_b, of both and of one only. overlap_trees: a random
    forest on five features of `overlap_features`; overlap_negation_trees: on all nine. Trained in one language
    (`language`) and used in another, word features say little, since the words are others (names and digits remain);
    overlap and negation features mean the same in every language and transfer. Deterministic, one thread; training
    reads ROWS examples drawn at random.
    """
    rows = sample(train)
    if not rows:
        return {}
    labels = [row["label"] for row in rows]
    forest = functools.partial(_forest, rows, labels, language)
    return {
        "hypothesis_only": _linear(rows, labels, lambda row: _ngrams(row["text_b"])),
        "overlap_trees": forest(slice(0, 5)),
        "overlap_negation_trees": forest(slice(0, 9)),
        "bag_of_words": _linear(rows, labels, _pair_words),
    }


def choices(train: Sequence[dict]) -> dict[str, Predict]:
    """`choice_only`: the index of the choice that looks most like a right one, by logistic regression on its words and
    word bigrams, without context or question; {} without training rows."""
    rows = sample(train)
    single = [(choice, index == row["label"]) for row in rows for index, choice in enumerate(row["choices"])]
    if not single:
        return {}
    score = _scorer([_ngrams(text) for text, _ in single], [right for _, right in single])

    def predict(rows: Sequence[dict], language: str) -> list[int]:
        values = iter(score([_ngrams(choice) for row in rows for choice in row["choices"]]))
        return [int(np.argmax([next(values) for _ in row["choices"]])) for row in rows]

    return {"choice_only": predict}


def choice_overlap(rows: Sequence[dict], language: str) -> list[int]:
    """Index of the choice with the largest share of words that the context or the question has; ties: the first."""
    found = []
    for row in rows:
        known = set(tokens(f"{row['context']} {row['question']}"))
        shares = [_share(tokens(choice), known) for choice in row["choices"]]
        found.append(int(np.argmax(shares)))
    return found


def overlap_features(text_a: str, text_b: str, language: str) -> list[float]:
    """Nine numbers of a pair. Overlap: share of text_b's words that text_a has, the reverse, Jaccard similarity,
    difference and ratio of their numbers of words. Then 0 or 1: text_a negated, text_b negated, exactly one of them
    negated, other numbers in the two (digits or words). A language without word lists has no negation words, and
    digits only."""
    words = tokens(text_a), tokens(text_b)
    sets = [set(side) for side in words]
    shared, either = len(sets[0] & sets[1]), len(sets[0] | sets[1])
    lengths = [len(side) for side in words]
    negated = [any(_negation(language).fullmatch(word) for word in side) for side in sets]
    numbers = [sorted(filter(None, (_number(word, language) for word in side))) for side in words]
    return [
        _share(words[1], sets[0]),
        _share(words[0], sets[1]),
        shared / either if either else 0.0,
        lengths[0] - lengths[1],
        lengths[1] / max(1, lengths[0]),
        *map(float, (*negated, negated[0] != negated[1], numbers[0] != numbers[1])),
    ]


def sample(rows: Sequence[dict]) -> list[dict]:
    """At most ROWS of the rows, drawn at random with a fixed seed, in their order."""
    if len(rows) <= ROWS:
        return list(rows)
    chosen = np.random.default_rng(SEED).choice(len(rows), ROWS, replace=False)
    return [rows[index] for index in sorted(chosen)]


# ---- features
def _share(words: list[str], known: set[str]) -> float:
    return sum(word in known for word in words) / len(words) if words else 0.0


@functools.cache
def _negation(language: str) -> regex.Pattern:
    return regex.compile(NEGATION.get(language, r"(?!)"))


@functools.cache
def _number(word: str, language: str) -> int | None:
    """The number that a token names, or None."""
    if word.isdecimal():
        return int(word)
    names = enumerate(NUMBERS.get(language, "").split(), 2)
    return next((value for value, name in names if regex.fullmatch(name, word)), None)


def _ngrams(text: str) -> list[str]:
    words = tokens(text)
    return [*words, *(f"{first} {second}" for first, second in zip(["^", *words], [*words, "$"], strict=True))]


def _pair_words(row: dict) -> list[str]:
    a, b = set(tokens(row["text_a"])), set(tokens(row["text_b"]))
    groups = {"a": a, "b": b, "both": a & b, "a only": a - b, "b only": b - a}
    return [f"{name}: {word}" for name, words in groups.items() for word in sorted(words)]


# ---- models
def _linear(rows: Sequence[dict], labels: list[str], features: Callable[[dict], list[str]]) -> Predict:
    """A classifier of rows by the words that `features` returns."""
    if len(set(labels)) < 2:
        return lambda rows, language: labels[:1] * len(rows)
    vectorise, model = _logistic([features(row) for row in rows], labels)
    return lambda rows, language: model.predict(vectorise([features(row) for row in rows])).tolist() if rows else []


def _scorer(documents: list[list[str]], right: list[bool]) -> Callable[[list[list[str]]], list[float]]:
    """A function from lists of words to log-odds of being right."""
    if len(set(right)) < 2:
        return lambda documents: [0.0] * len(documents)
    vectorise, model = _logistic(documents, right)
    return lambda documents: model.decision_function(vectorise(documents)).round(9).tolist() if documents else []


def _logistic(documents: list[list[str]], labels: list):
    """(vectoriser, fitted model): presence of words, those of one training text left out where texts are many."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    rare = 2 if len(documents) > 200 else 1
    vectoriser = CountVectorizer(analyzer=list, binary=True, min_df=rare)
    try:
        matrix = vectoriser.fit_transform(documents)
    except ValueError:  # no word occurs often enough: nothing but the labels' frequencies is left
        vectoriser = CountVectorizer(analyzer=lambda words: ["any"], binary=True)
        matrix = vectoriser.fit_transform(documents)
    model = LogisticRegression(C=0.5, max_iter=200, tol=1e-3, random_state=SEED)
    return vectoriser.transform, model.fit(matrix.astype(float), labels)


def _forest(rows: Sequence[dict], labels: list[str], language: str, columns: slice) -> Predict:
    """A random forest on those columns of `overlap_features`."""
    from sklearn.ensemble import RandomForestClassifier

    def matrix(rows: Sequence[dict], language: str) -> np.ndarray:
        table = [overlap_features(row["text_a"], row["text_b"], language)[columns] for row in rows]
        return np.array(table, dtype=np.float32)

    model = RandomForestClassifier(100, min_samples_leaf=3, n_jobs=1, random_state=SEED)
    model.fit(matrix(rows, language), labels)
    return lambda rows, language: model.predict(matrix(rows, language)).tolist() if rows else []
