"""robustness.csv says whether the labels of generated data survive a successful attack."""

import pytest

from xstilts import embedded
from xstilts.analysis import outcomes, robustness
from xstilts.analysis.generated import Labels
from xstilts.files import write_jsonl


def spec(generators, languages=("en", "de"), targets=("own",)):
    """One cell whose targets' examples come from these generators."""
    cell = {"attack": "charswap", "model": "m", "intermediate": "none", "seed": 1, "targets": list(targets)}
    return {
        "generators": generators,
        "targets": {name: {"languages": list(languages)} for name in targets},
        "attack_cells": [cell],
        "bootstrap": {"samples": 20, "seed": 0},
    }


def attacked(example, outcome="succeeded", **texts):
    """A row of an attack file: these fields of the example have new texts."""
    return {
        "id": example["id"], "outcome": outcome, "queries": 3, "perturbed": 0.1, "similarity": 0.9, "clean": 1.0,
        "attacked": float(outcome == "failed"), "original": {name: joined(example[name]) for name in texts},
        "adversarial": {name: joined(text) for name, text in texts.items()},
    }  # fmt: skip


def joined(value):
    return "\t".join(value) if isinstance(value, list) else value


def hidden(text):
    """An invisible character inside the longest word: a reader sees no change."""
    word = max(text.split(), key=len)
    return text.replace(word, f"{word[:2]}\u2060{word[2:]}", 1)


def examples(results, generator, language, n=20, name="own"):
    rows = embedded.generate(generator, language, "test", n, 1)
    write_jsonl(results / "examples" / name / language / "test.jsonl", rows)
    return rows


def test_shares_of_broken_and_unreadable_labels_by_language_and_as_means(tmp_path):
    for language, harm in (("en", 1), ("de", 2)):
        rows = examples(tmp_path, "pawsx", language)
        same = [row for row in rows if row["label"] == "1"][:4]
        other = rows[-1]["text_b"]  # a paraphrase no longer where it is another sentence
        told = [attacked(row, text_b=other if n < harm else hidden(row["text_b"])) for n, row in enumerate(same)]
        told[3] = attacked(same[3], text_b="Xyzzy plugh.")
        told.append(attacked(rows[5], "failed", text_b=other))
        told.append(attacked(rows[6], "skipped", text_b=rows[6]["text_b"]))
        write_jsonl(tmp_path / f"attacks/charswap/m/none/s1/own/{language}.jsonl", told)
    study = spec({"own": ["pawsx"]})  # the target need not have the generator's name
    found, missing = outcomes.load(study, tmp_path)
    table = robustness.rows(outcomes.Outcomes(study, found))
    shares = {row["language"]: (row["broken"], row["unreadable"]) for row in table}
    assert not missing
    assert shares == {"en": (25, 25), "de": (50, 25), "mean": (37.5, 25), "mean_non_en": (50, 25)}


def test_columns_are_empty_without_a_check_without_successes_and_for_other_data(tmp_path):
    rows = examples(tmp_path, "pawsx", "en")
    for name, outcome in (("own", "succeeded"), ("held", "failed")):
        write_jsonl(tmp_path / f"attacks/charswap/m/none/s1/{name}/en.jsonl", [attacked(rows[0], outcome, text_b="x")])
        write_jsonl(tmp_path / "examples" / name / "en" / "test.jsonl", rows)
    for generators in ({}, {"own": ["hellaswag"], "held": ["pawsx"]}):
        study = spec(generators, ["en"], ["own", "held"])
        found, _ = outcomes.load(study, tmp_path)
        table = robustness.rows(outcomes.Outcomes(study, found))
        assert len(table) == 4 and all(row["broken"] is row["unreadable"] is None for row in table)


@pytest.mark.parametrize(
    ("generator", "language", "field"),
    [
        ("xnli", "de", "text_b"),
        ("xquad", "ru", "question"),
        ("mlqa", "es", "context"),
        ("panx", "en", "tokens"),
        ("tatoeba", "de", "text"),
        ("bucc2018", "de", "text"),
    ],
)
def test_what_a_reader_does_not_see_breaks_nothing(tmp_path, generator, language, field):
    """The queries of Tatoeba are its English side, those of BUCC the other language's."""
    rows = examples(tmp_path, generator, language)
    side = {"tatoeba": "target", "bucc2018": "source"}.get(generator)
    rows = [row for row in rows if side is None or (row["side"] == side and row["match"])]
    edited = [
        [hidden(row[field][0]), *row[field][1:]] if field == "tokens" else hidden(row[field]) for row in rows[:10]
    ]
    told = [attacked(row, **{field: text}) for row, text in zip(rows, edited, strict=False)]
    labels = Labels(spec({"own": [generator]}, [language]), tmp_path)
    assert labels("own", language, told) == ["holds"] * 10


def test_another_sentence_is_no_translation_in_either_retrieval_task(tmp_path):
    for generator, side in (("tatoeba", "target"), ("bucc2018", "source")):
        rows = [row for row in examples(tmp_path, generator, "de", name=generator) if row["side"] == side]
        outcome = attacked(next(row for row in rows if row["match"]), text=rows[-1]["text"])
        labels = Labels(spec({generator: [generator]}, ["de"]), tmp_path)
        assert labels(generator, "de", [outcome]) == ["broken"]


def test_texts_that_are_not_the_prepared_ones_are_not_judged(tmp_path):
    rows = examples(tmp_path, "pawsx", "en")
    labels = Labels(spec({"own": ["pawsx"]}), tmp_path)
    stale = {**attacked(rows[0], text_b="x"), "original": {"text_b": "An older text."}}
    gone = {**attacked(rows[0], text_b="x"), "id": "test-999"}
    assert labels("own", "en", [stale, gone]) == ["unreadable"] * 2
    assert labels("own", "de", [attacked(rows[0], text_b="x")]) == ["unreadable"]
