"""The generated data: how fast it is made, and how far shallow methods get on it."""

from __future__ import annotations

import statistics
import time

TRAIN, TEST, PAIRS = 6000, 2000, ("mnli", "xnli", "anli", "qqp", "pawsx")
ROUNDS = 3


def speed() -> list[dict]:
    """Examples a minute on one core: 2,000 of each task, English (retrieval: German), of the targets' test sets Swahili
    too, the slowest language; median of ROUNDS seeds."""
    from xstilts import embedded

    rows = []
    for name in embedded.INTERMEDIATE + embedded.TARGETS:
        english = "de" if name in embedded.RETRIEVAL else "en"
        cases = [("train", english), ("test", english)] + ([("test", "sw")] if name in embedded.TARGETS else [])
        row = {"task": name}
        for split, language in cases:
            embedded.generate(name, language, split, 20, 9)  # lexicons are read once a process
            times = []
            for seed in range(1, ROUNDS + 1):
                start = time.perf_counter()
                embedded.generate(name, language, split, TEST, seed)
                times.append(time.perf_counter() - start)
            key = f"{split}_sw_a_minute" if language == "sw" else f"{split}_a_minute"
            row[key] = round(TEST / statistics.median(times) * 60, -3)
        rows.append(row)
    return rows


def shortcuts() -> list[dict]:
    """Percent right of shallow classifiers on 2,000 English test items after 6,000 training items of the same task."""
    from xstilts import embedded
    from xstilts.analysis import overlap, shallow

    rows = []
    for name in PAIRS:
        source = "mnli" if name == "xnli" else name  # XNLI is trained on MNLI, as the models are
        train = embedded.generate(source, "en", "train", TRAIN, 1)
        test = embedded.generate(name, "en", "test", TEST, 1)
        found = shallow.artefacts(train, test)
        rows.append({"task": name, "chance": round(100 / len({row["label"] for row in test}), 1)} | {
            key: round(value, 1) for key, value in found.items()
        })  # fmt: skip
    for name in ("commonsenseqa", "cosmosqa", "hellaswag"):
        test = embedded.generate(name, "en", "test", TEST, 1)
        learned = shallow.choices(embedded.generate(name, "en", "train", TRAIN, 1))["choice_only"](test, "en")
        guesses = {"choice_only": learned, "choice_overlap": shallow.choice_overlap(test, "en")}
        row = {"task": name, "chance": round(100 / len(test[0]["choices"]), 1)}
        for key, found in guesses.items():
            right = sum(a == one["label"] for a, one in zip(found, test, strict=True))
            row[key] = round(100 * right / TEST, 1)
        rows.append(row)
    for code in ("de", "es", "ru", "zh"):  # trained in the language itself, which no zero-shot method is
        train, test = (embedded.generate("pawsx", code, s, n, 1) for s, n in (("train", TRAIN), ("test", TEST)))
        found = shallow.artefacts(train, test, code)
        rows.append({"task": f"pawsx {code}", "chance": 50.0} | {key: round(value, 1) for key, value in found.items()})
    for code in (code for code in embedded.languages() if code != "en"):
        test = embedded.generate("tatoeba", code, "test", TEST, 1)
        sources = [row for row in test if row["side"] == "source"]
        gold = {row["match"]: k for k, row in enumerate(sources)}
        targets = [row for row in test if row["side"] == "target"]
        found = overlap.nearest(test)
        right = sum(gold[row["id"]] == k for row, k in zip(targets, found, strict=True))
        rows.append({"task": f"tatoeba {code}", "chance": 0.05, "word_overlap": round(100 * right / len(targets), 1)})
    return rows
