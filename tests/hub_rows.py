"""Rows of the repositories of tests/hub_shapes.yaml, made up: what each means, and how its repository writes it.

Texts name their configuration, split and number, so that a row of another place is another text. Each content has the
traps of the real set: labels that are no labels, classes as numbers, letters or text, wrong offsets, several languages
in one configuration, lines with their line end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

NLI = ["entailment", "neutral", "contradiction"]
NER = [
    ["B-PER", "I-PER", "O", "B-ORG", "I-ORG", "O", "B-LOC", "I-LOC"],
    ["O", "B-LOC", "B-LOC", "O", "B-ORG", "O", "B-PER", "I-PER"],
]


class Row(NamedTuple):
    """`raw` as the repository writes it; `meaning` None where the row cannot be used."""

    raw: dict
    meaning: dict | None
    language: str


class Place(NamedTuple):
    """What a content is told: where the rows stand, and the classes of a field in their order there."""

    config: str
    split: str
    language: str | None
    languages: list[str]
    names: dict[str, str]
    features: dict

    def text(self, number: int, what: str) -> str:
        return f"{what} {number} of {self.config} {self.split}"

    def classes(self, field: str) -> list[str]:
        feature = self.features[field]
        return (feature.get("list") or feature)["classes"]

    def number(self, field: str, name: str) -> int:
        return self.classes(field).index(name)


def rows(table: dict, config: str, split: str, language: str | None, number: int) -> list[Row]:
    """`number` rows (more, where the content needs them) of one split of a table of the shapes."""
    place = Place(config, split, language, table["languages"], table.get("names", {}), table["features"])
    return [row if isinstance(row, Row) else Row(*row, language) for row in _CONTENTS[table["content"]](place, number)]


def _pairs(fields: tuple[str, str], names: list[str], extra: Callable[[int], dict], unlabelled=()) -> Callable:
    """Pairs of texts whose label is a class number; splits in `unlabelled` have -1 throughout."""

    def content(place: Place, number: int) -> Iterable[tuple]:
        for n in range(number):
            a, b, name = place.text(n, "premise"), place.text(n, "hypothesis"), names[n % len(names)]
            raw, meaning = {fields[0]: a, fields[1]: b, **extra(n)}, {"text_a": a, "text_b": b, "label": name}
            if "idx" in raw or "id" in raw:
                meaning["id"] = str(raw.get("idx", raw.get("id")))
            if place.split in unlabelled:
                yield {**raw, "label": -1}, None
            else:
                yield {**raw, "label": place.number("label", name)}, meaning

    return content


def _snli(place: Place, number: int) -> Iterable[tuple]:
    for n, row in enumerate(_pairs(("premise", "hypothesis"), NLI, lambda n: {})(place, number)):
        if n % 3 == 1:  # no majority among the annotators
            yield {"premise": f"nobody agrees on {n}", "hypothesis": "so it has no label", "label": -1}, None
        yield row


def _qqp(place: Place, number: int) -> Iterable[tuple]:
    names = {"not_duplicate": "0", "duplicate": "1"}
    pairs = _pairs(("question1", "question2"), list(names), lambda n: {"idx": n}, ("test",))
    for raw, meaning in pairs(place, number):
        yield raw, meaning and {**meaning, "label": names[meaning["label"]]}


def _paws(place: Place, number: int) -> Iterable[tuple]:
    for n, (raw, meaning) in enumerate(_pairs(("sentence1", "sentence2"), ["0", "1"], _from_one)(place, number)):
        if n == 2 and place.split != "train":  # some sentences of the real test sets are this placeholder
            raw, meaning = {**raw, "sentence2": "NS"}, {**meaning, "text_b": "NS"}
        yield raw, meaning


def _from_one(n: int) -> dict:
    return {"id": n + 1}


def _xtreme_paws(place: Place, number: int) -> Iterable[tuple]:
    for n in range(number):
        yield {"sentence1": place.text(n, "one"), "sentence2": place.text(n, "two"), "label": str(n % 2)}, None


# ---- choices
def _hellaswag(place: Place, number: int) -> Iterable[tuple]:
    for n in range(number):
        first, second, label = place.text(n, "Somebody waits,"), "then", (n + 1) % 4
        endings = [f"ends as {letter} {n}." for letter in "pqrs"]
        raw = {
            "ind": 7 * n,
            "activity_label": "Waiting",
            "ctx_a": first,
            "ctx_b": second,
            "ctx": f"{first} {second}",
            "endings": endings,
            "source_id": f"activitynet~v_{n}",
            "split": place.split,
            "split_type": "indomain",
            "label": "" if place.split == "test" else str(label),  # a number as text
        }
        meaning = {"id": str(7 * n), "context": f"{first} {second}", "choices": endings, "label": label}
        yield raw, None if place.split == "test" else meaning


def _cosmos(place: Place, number: int) -> Iterable[tuple]:
    for n in range(number):
        context, question, label = place.text(n, "A story"), place.text(n, "Why?"), (n + 2) % 4
        answers = [f"because of {letter} {n}" for letter in "pqrs"]
        raw = {
            "id": f"{place.split}##{n}##q1_a1",
            "context": context,
            "question": question,
            **{f"answer{number}": answer for number, answer in enumerate(answers)},
            "label": -1 if place.split == "test" else label,
        }
        meaning = {"id": raw["id"], "context": context, "question": question, "choices": answers, "label": label}
        yield raw, None if place.split == "test" else meaning


def _commonsense(place: Place, number: int) -> Iterable[tuple]:
    for n in range(number):
        question, label = place.text(n, "Where?"), (n + 3) % 5
        answers = [f"place {letter} {n}" for letter in "pqrst"]
        raw = {
            "id": f"{place.split}{n:028x}",
            "question": question,
            "question_concept": "place",
            "choices": {"label": list("ABCDE"), "text": answers},
            "answerKey": "" if place.split == "test" else "ABCDE"[label],
        }
        meaning = {"id": raw["id"], "question": question, "choices": answers, "label": label}
        yield raw, None if place.split == "test" else meaning


# ---- spans
def _span(place: Place, n: int, key: str, title: str | None, before="Früher", shift=0, texts=1) -> tuple[dict, dict]:
    """A row of SQuAD's form with `texts` answers; `shift`: by how many characters the given offsets are wrong."""
    answers = [f"answer {n}", f"the answer {n}"][-texts:] if texts else []
    context = f"{before}: {place.text(n, 'a passage')}. It says that the answer {n} is right. Not answer x."
    question = place.text(n, "What is it?")
    spans = [{"text": text, "start": context.index(text)} for text in answers]
    given = {"text": answers, "answer_start": [max(span["start"] + shift, 0) for span in spans]}
    raw = {"id": key, "context": context, "question": question, "answers": given}
    if title is not None:
        raw["title"] = title
    return raw, {"id": key, "context": context, "question": question, "answers": spans}


def _squad(place: Place, number: int) -> Iterable[tuple]:
    for n in range(number):
        yield _span(place, n, f"{place.split}{n:020x}", "An_article", texts=1 if place.split == "train" else 2)


def _squad_v2(place: Place, number: int) -> Iterable[tuple]:
    for n in range(number):
        yield _span(place, n, f"{place.split}{n:020x}", "An_article", texts=n % 2)  # every other one has no answer


def _xquad(place: Place, number: int) -> Iterable[tuple]:
    for n in range(number):  # the same ids in every language
        yield _span(place, n, f"56beb{n:019x}", None)


def _mlqa(place: Place, number: int) -> Iterable[tuple]:
    for n in range(number):
        yield _span(place, n, f"{n:040x}", "Ein Titel")


def _tydiqa(place: Place, number: int) -> Iterable[Row]:
    """All languages in turns; every third training row's offset is off, as where bytes were counted."""
    for n in range(number * (8 if place.split == "train" else 1)):
        for language in place.languages:
            shift = 5 if place.split == "train" and n % 3 == 2 else 0
            key = f"{place.names[language]}-{n * 17 - 9:d}-{n % 2}"
            yield Row(*_span(place, n, key, "Ελ", f"{place.names[language]} ώρα", shift), language)


# ---- tags
def _panx(place: Place, number: int) -> Iterable[tuple]:
    for n in range(number):
        tags = NER[n % 2]
        tokens = [f"{place.split}{n}.{position}" for position in range(len(tags) - 1)] + [place.config]
        numbers = [place.number("ner_tags", tag) for tag in tags]
        yield (
            {"tokens": tokens, "ner_tags": numbers, "langs": [place.language] * len(tags)},
            {"tokens": tokens, "tags": tags},
        )


def _udpos(place: Place, number: int) -> Iterable[tuple]:
    names = ["NOUN", "VERB", *sorted(set(place.classes("pos_tags")) - {"NOUN", "VERB"}), "PUNCT"]
    for n in range(number):
        tags = names[n % 3 :] + names[: n % 3]
        tokens = [f"{place.split}{n}.{position}" for position in range(len(tags) - 1)] + [place.config]
        numbers = [place.number("pos_tags", tag) for tag in tags]
        yield {"tokens": tokens, "pos_tags": numbers}, {"tokens": tokens, "tags": tags}


# ---- retrieval and text
def _bucc(place: Place, number: int) -> Iterable[tuple]:
    for n in range(number):  # ids in the columns that are named for languages
        source, target = place.text(n, "ein Satz"), place.text(n, "a sentence")
        ids = {"source_lang": f"{place.language}-{n:09d}", "target_lang": f"en-{5 * n:09d}"}
        yield {"source_sentence": source, "target_sentence": target, **ids}, {"source": source, "target": target}


def _tatoeba(place: Place, number: int) -> Iterable[tuple]:
    for n in range(number):  # corpus order, which is not the English sentences' alphabetical order
        source, target = place.text(n, "un detto"), f"{'zyxwvutsrq'[n % 10]} saying {n} of {place.config}"
        raw = {"source_sentence": source + "\n", "target_sentence": target + "\n"}
        languages = {"source_lang": place.config.split(".")[-1], "target_lang": "eng"}
        yield {**raw, **languages}, {"source": source, "target": target}


def _wikipedia(place: Place, number: int) -> Iterable[tuple]:
    for n in range(number):
        lines = [place.text(n, "A line"), place.text(n, "Another line")]
        raw = {"id": str(100 + n), "url": f"https://example.org/{n}", "title": f"Title {n}", "text": "\n\n".join(lines)}
        yield raw, {"id": raw["id"], "lines": lines}


_premises = ("premise", "hypothesis")
_CONTENTS = {
    "anli": _pairs(_premises, NLI, lambda n: {"uid": f"{n:08x}-77c5", "reason": "neutral, as I thought"}),
    "glue_mnli": _pairs(_premises, NLI, lambda n: {"idx": n}, ("test_matched", "test_mismatched")),
    "glue_qqp": _qqp,
    "snli": _snli,
    "xnli": _pairs(_premises, NLI, lambda n: {}),
    "paws_x": _paws,
    "xtreme_pawsx": _xtreme_paws,
    "hellaswag": _hellaswag,
    "cosmos_qa": _cosmos,
    "commonsense_qa": _commonsense,
    "squad": _squad,
    "squad_v2": _squad_v2,
    "xquad": _xquad,
    "mlqa": _mlqa,
    "mlqa_pairs": _mlqa,
    "tydiqa": _tydiqa,
    "panx": _panx,
    "udpos": _udpos,
    "bucc18": _bucc,
    "tatoeba": _tatoeba,
    "wikipedia": _wikipedia,
}
