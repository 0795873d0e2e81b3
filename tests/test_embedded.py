"""The embedded mini-XTREME: what its users rely on, whatever the task. Tasks and languages have files of their own."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest
from embedded_sets import EVERY, KEYS, LANGUAGES, RETRIEVAL, SIZE, clause, codes, kind_of, rows, units

from xstilts import embedded
from xstilts.embedded import lexicon, meaning
from xstilts.embedded.__main__ import samples
from xstilts.embedded.grammar import Grammar, grammar
from xstilts.embedded.meaning import noun
from xstilts.embedded.parse import sentences
from xstilts.embedded.patterns import Token
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct
from xstilts.errors import UserError

SPLITS = (("train", 11), ("dev", 12), ("test", 1))  # with a seed of its own each
STREAMED = [(name, codes(name)[-1]) for name in embedded.INTERMEDIATE + embedded.TARGETS if name not in RETRIEVAL]


def digest(value):
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode("utf-8")).hexdigest()


# ---------------------------------------------------------------- rows
@pytest.mark.parametrize(("name", "code"), EVERY)
def test_rows_have_the_normalised_form(name, code):
    found = rows(name, code)
    assert len({row["id"] for row in found}) == len(found)
    assert all(list(row) == KEYS[kind_of(name)] for row in found)
    if name in RETRIEVAL:
        assert sum(row["match"] is not None for row in found) == SIZE
    else:
        assert len(found) == SIZE
    for row in found:
        texts = [value for value in row.values() if isinstance(value, str)] + row.get("choices", [])
        assert all(text == text.strip() and "  " not in text for text in texts), row
        if "tokens" in row:
            assert len(row["tokens"]) == len(row["tags"]) and all(row["tokens"])
        if "choices" in row:
            assert len(set(row["choices"])) == len(row["choices"]) and 0 <= row["label"] < len(row["choices"])
            assert all(row["choices"])


@pytest.mark.parametrize("name", embedded.TARGETS)
def test_the_same_meanings_and_ids_in_every_language(name):
    sets = [rows(name, code) for code in codes(name)]
    assert len({tuple(row["id"] for row in found) for found in sets}) == 1
    for key in ("label", "match"):
        assert len({tuple(row.get(key) for row in found) for found in sets}) == 1
    if name in RETRIEVAL:
        assert len({tuple(row["text"] for row in found if row["side"] == "target") for found in sets}) == 1
    if name == "panx":
        counts = [[Counter(tag[2:] for tag in row["tags"] if tag[:1] == "B") for row in found] for found in sets]
        assert all(other == counts[0] for other in counts)
    if kind_of(name) == "span_qa":
        assert len({tuple(len(row["answers"]) for row in found) for found in sets}) == 1


@pytest.mark.parametrize("name", ["mnli", "anli", "xnli", "pawsx", "qqp", "hellaswag", "cosmosqa", "commonsenseqa"])
def test_labels_are_balanced_to_one_item(name):
    for code in codes(name):
        found = rows(name, code)
        for size in (SIZE, 301):  # however many are taken
            counts = Counter(row["label"] for row in found[:size])
            assert max(counts.values()) - min(counts.values()) <= 1, (code, counts)


# ---------------------------------------------------------------- splits
@pytest.mark.parametrize("name", embedded.INTERMEDIATE + embedded.TARGETS)
def test_no_text_of_one_split_is_in_another(name):
    code = "ru" if name in embedded.TARGETS else "en"  # Russian: no articles, so fewest differences between sentences
    train, dev, test = (
        units(name, code, split, SIZE if split == "test" else 500, seed, first=500) for split, seed in SPLITS
    )
    assert not (train & dev or train & test or dev & test)


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_sentence_is_in_two_splits_in_any_language_or_task(code):
    train = units("udpos", code, "train", 500, 11)
    other = units("udpos", code, "test", SIZE, 1) | units("xquad", code, "test", SIZE, 1, first=150)
    assert not {text.replace(" ", "") for text in train} & {text.replace(" ", "") for text in other}


def test_no_single_statement_of_a_training_set_is_in_a_test_set_of_any_task():
    """Documented exceptions: questions, choices, the stories of anli, the halves of two-clause sentences."""

    def statements(split, seed):
        found = set()
        for name in ("mnli", "xnli", "udpos", "panx", "ccg", "squad", "mlqa"):
            for row in rows(name, "en", split, 1000, seed):
                if "text_b" in row:
                    found.add(row["text_b"])
                elif "tokens" in row:
                    found.add(grammar("en").text([Token(word, "X") for word in row["tokens"]]))
                else:
                    found.update(text for _, text in sentences("en", row["context"]))
        return {text.replace(" a ", " the ").replace(" an ", " the ") for text in found}

    assert not statements("train", 1) & statements("test", 2)


def test_meanings_of_a_split_stay_there_whatever_the_seed():
    for split in ("train", "dev", "test"):
        for seed in (1, 2):
            s = Sampler(Rng("any", seed), split)
            assert {meaning.split_of(s.own(s.clause)) for _ in range(SIZE // 2)} == {split}


# ---------------------------------------------------------------- determinism
PINNED = "35e512372ebc1a6f763c22be143a20d3fc82aa218fa252466c4f74dc7148ce33"


def test_bytes_are_pinned():
    value = [digest(embedded.generate(name, code, "test", 25, 1)) for name, code in EVERY]
    assert digest(value) == PINNED, "the generated data changed: say so in CHANGELOG.md and record the new value"


@pytest.mark.parametrize(("name", "code"), STREAMED)
def test_a_smaller_set_begins_a_larger_one_and_a_stream_goes_on(name, code):
    found = rows(name, code)
    assert embedded.generate(name, code, "test", 31, 1) == found[:31]
    assert list(islice(embedded.stream(name, code, "test", 1), 120)) == found[:120]
    assert embedded.generate(name, code, "test", 31, 2) != found[:31]


@pytest.mark.parametrize("name", RETRIEVAL)
def test_a_retrieval_pool_has_a_size(name):
    assert embedded.generate(name, "de", "dev", 40, 1) == embedded.generate(name, "de", "dev", 40, 1)
    with pytest.raises(UserError, match="a pool has a size"):
        embedded.stream(name, "de", "dev")


def test_the_hash_seed_does_not_matter():
    code = "import json; from xstilts import embedded as e; "
    code += f"names = {[*embedded.INTERMEDIATE, *embedded.TARGETS]!r}; "
    code += "print(json.dumps([e.generate(n, 'en' if n in e.INTERMEDIATE else 'ar', 'test', 8, 1) for n in names]))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("snli", "en", "test"), ("snli", "xnli", "cosmosqa")),
        (("xnli", "xx", "test"), ("xx", ", ".join(LANGUAGES), "xx.yaml")),
        (("xnli", "en", "validation"), ("validation", "train, dev, test")),
        (("mnli", "de", "train"), ("mnli", "English")),
        (("tatoeba", "en", "test"), ("target side",)),
        (("xnli", "en", "test", 0), ("at least 1",)),
    ],
)
def test_errors_name_what_is_allowed(arguments, words):
    with pytest.raises(UserError) as error:
        embedded.generate(*arguments)
    assert all(word in str(error.value) for word in words), error.value


def test_an_exhausted_space_says_how_many_there_are():
    draws = iter(range(10**6))
    with pytest.raises(UserError, match=r"toy, split test: 8 examples asked for, but only 7 different"):
        list(distinct(8, lambda i: (next(draws) % 7, i), "toy", "test"))
    draws = iter(range(10**6))
    endless = distinct(None, lambda i: (next(draws) % 7, i), "toy", "test")
    assert list(islice(endless, 7)) == list(range(7))
    with pytest.raises(UserError, match="ask for at most 7"):
        next(endless)


# ---------------------------------------------------------------- lexicons as files
def test_a_language_that_reuses_a_grammar_is_one_file(tmp_path):
    for path in lexicon.FOLDER.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    text = (lexicon.FOLDER / "en.yaml").read_text(encoding="utf-8")
    words = text[text.index("\nnouns:") :].replace("[teacher, teachers", "[tutor, tutors")
    (tmp_path / "toy.yaml").write_text("language: toy\ngrammar: en\n" + words, encoding="utf-8")
    assert lexicon.languages(tmp_path) == sorted([*LANGUAGES, "toy"])
    toy = Grammar(lexicon.load("toy", tmp_path))
    assert toy.sentence(clause(noun("a", "teacher"), "sing", None, "park")) == "A tutor sings in the park."
    (tmp_path / "half.yaml").write_text("language: half\ngrammar: en\nnouns: {dog: [dog, dogs]}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"half\.yaml: nouns: misses person"):
        lexicon.load("half", tmp_path)
    (tmp_path / "loop.yaml").write_text("grammar: loop\n", encoding="utf-8")
    with pytest.raises(UserError, match="leads back"):
        lexicon.load("loop", tmp_path)


def test_fingerprints_are_of_single_languages():
    assert len({embedded.fingerprint(code) for code in LANGUAGES}) == len(LANGUAGES)
    assert embedded.fingerprint() == embedded.fingerprint(*LANGUAGES)


def test_the_samples_in_the_documentation_are_current():
    text = (lexicon.FOLDER.parents[1] / "docs" / "embedded.md").read_text(encoding="utf-8")
    assert samples(1).strip() in text, "write the output of `python -m xstilts.embedded` under '## Samples'"
