"""The embedded mini-XTREME: what its users rely on."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter

import pytest

from xstilts import embedded
from xstilts.embedded import ccg, inference, lexicon, meaning
from xstilts.embedded.__main__ import samples
from xstilts.embedded.grammar import Grammar, grammar
from xstilts.embedded.meaning import NP, Clause, noun
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct
from xstilts.embedded.tasks import tagging
from xstilts.errors import UserError

LANGUAGES = ("en", "de", "ru", "zh")
RETRIEVAL = ("bucc2018", "tatoeba")
KINDS = {
    "pair": ("anli", "mnli", "qqp", "xnli", "pawsx"),
    "choice": ("hellaswag", "cosmosqa", "commonsenseqa"),
    "tagging": ("ccg", "udpos", "panx"),
    "span_qa": ("squad_v2", "squad", "xquad", "mlqa", "tydiqa"),
    "retrieval": RETRIEVAL,
}
KEYS = {
    "pair": ["id", "text_a", "text_b", "label"],
    "choice": ["id", "context", "question", "choices", "label"],
    "tagging": ["id", "tokens", "tags"],
    "span_qa": ["id", "context", "question", "answers"],
    "retrieval": ["id", "side", "text", "match"],
}
QA = [(name, code) for name in ("xquad", "mlqa", "tydiqa") for code in LANGUAGES] + [
    ("squad", "en"),
    ("squad_v2", "en"),
]


def every():
    """(generator, language) of all that can be generated."""
    for name in embedded.INTERMEDIATE:
        yield name, "en"
    for name in embedded.TARGETS:
        for code in LANGUAGES:
            if not (name in RETRIEVAL and code == "en"):
                yield name, code


def kind_of(name):
    return next(kind for kind, names in KINDS.items() if name in names)


def digest(rows):
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode("utf-8")).hexdigest()


def clause(subj, pred, obj=None, place=None, time=None, neg=False):
    kind = "at" if pred is None else ("adjective" if pred in lexicon.concepts()["adjectives"] else "verb")
    return Clause(kind, subj, pred, obj, place, time, neg)


@pytest.mark.parametrize(("name", "code"), list(every()))
def test_rows_have_the_normalised_form(name, code):
    rows = embedded.generate(name, code, "test", 30, 1)
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(list(row) == KEYS[kind_of(name)] for row in rows)
    if name in RETRIEVAL:
        assert sum(row["match"] is not None for row in rows) == 60
    else:
        assert len(rows) == 30
    for row in rows:
        if "tokens" in row:
            assert len(row["tokens"]) == len(row["tags"]) and all(row["tokens"])
        if "choices" in row:
            assert len(set(row["choices"])) == len(row["choices"]) and 0 <= row["label"] < len(row["choices"])


@pytest.mark.parametrize("name", embedded.TARGETS)
def test_the_same_meanings_and_ids_in_every_language(name):
    sets = [embedded.generate(name, code, "test", 40, 1) for code in LANGUAGES if name not in RETRIEVAL or code != "en"]
    assert len({tuple(row["id"] for row in rows) for rows in sets}) == 1
    if name in RETRIEVAL:
        english = [[row["text"] for row in rows if row["side"] == "target"] for rows in sets]
        assert english[0] == english[1] == english[2]
    for key in ("label", "match"):
        assert len({tuple(row.get(key) for row in rows) for rows in sets}) == 1
    if name == "panx":
        counts = [[Counter(tag[2:] for tag in row["tags"] if tag[:1] == "B") for row in rows] for rows in sets]
        assert all(other == counts[0] for other in counts)


def test_labels_are_balanced_and_answers_move_around():
    for name in ("mnli", "anli", "xnli", "pawsx", "qqp", "hellaswag", "cosmosqa", "commonsenseqa"):
        counts = Counter(row["label"] for row in embedded.generate(name, "en", "train", 120, 1))
        assert max(counts.values()) - min(counts.values()) <= 1, (name, counts)
    rows = embedded.generate("squad_v2", "en", "train", 90, 1)
    assert sum(not row["answers"] for row in rows) == 30


@pytest.mark.parametrize(("name", "code"), QA)
def test_answers_stand_at_their_offset_and_contexts_are_short(name, code):
    for row in embedded.generate(name, code, "test", 60, 1):
        assert name == "squad_v2" or row["answers"]
        for answer in row["answers"]:
            start = answer["start"]
            assert answer["text"] and row["context"][start : start + len(answer["text"])] == answer["text"]
        assert len(row["context"].split()) <= 60


@pytest.mark.parametrize("code", LANGUAGES)
def test_panx_is_legal_iob2_and_tests_on_unseen_names(code):
    for row in embedded.generate("panx", code, "test", 80, 1):
        for before, tag in zip(["O", *row["tags"]], row["tags"], strict=False):
            assert tag == "O" or tag[:2] in ("B-", "I-")
            assert not tag.startswith("I-") or before[2:] == tag[2:]
    train, test = (
        {
            token
            for row in embedded.generate("panx", code, split, 600, 1)
            for token, tag in zip(row["tokens"], row["tags"], strict=True)
            if tag != "O"
        }
        for split in ("train", "test")
    )
    assert test - train, "the test set has names that training lacks"


def test_supertags_combine_to_a_sentence():
    rows = embedded.generate("ccg", "en", "train", 300, 1)
    allowed = set(embedded.supertags())
    for row in rows:
        assert set(row["tags"]) <= allowed, row
        assert ccg.combines(row["tags"]), row
    assert not ccg.combines(["NP/N", "N", "(S[dcl]\\NP)/NP", "."])
    assert not ccg.combines(["N", "NP/N", "S[dcl]\\NP"])


def test_no_meaning_of_one_split_is_in_another():
    fixed = {"pair": "text_a", "choice": "context", "span_qa": "context", "retrieval": "text"}
    for name in ("mnli", "qqp", "pawsx", "squad", "hellaswag", "udpos", "commonsenseqa", "tatoeba"):
        code = "de" if name in RETRIEVAL else "en"
        seen = []
        for split, seed in (("train", 1), ("dev", 2), ("test", 3)):
            rows = embedded.generate(name, code, split, 200, seed)
            if name == "commonsenseqa":
                seen.append({(row["question"], tuple(sorted(row["choices"]))) for row in rows})
            else:
                key = fixed.get(kind_of(name))
                seen.append({row[key] if key else " ".join(row["tokens"]) for row in rows})
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2]), name
    # A test set for one task shares no clause with the training set of another (mnli -> xnli, squad -> xquad).
    s = Sampler(Rng("a"), "test")
    assert all(meaning.split_of(s.own(s.clause)) == "test" for _ in range(50))


@pytest.mark.parametrize("code", ["de", "ru", "zh"])
def test_retrieval_pools(code):
    for name, split in (("tatoeba", "test"), ("bucc2018", "dev"), ("bucc2018", "test")):
        rows = embedded.generate(name, code, split, 100, 1)
        sides = {side: [row for row in rows if row["side"] == side] for side in ("source", "target")}
        by_id = {row["id"]: row for row in rows}
        for row in rows:
            if row["match"]:
                assert by_id[row["match"]]["match"] == row["id"] and by_id[row["match"]]["side"] != row["side"]
        for side, members in sides.items():
            assert len(members) == (100 if name == "tatoeba" else 200)
            assert len({row["text"] for row in members}) == len(members), f"{side}: ambiguous gold"
        if name == "tatoeba":
            assert [row["text"] for row in sides["target"]] == sorted(row["text"] for row in sides["target"])


def test_sentences_are_correct_where_the_grammars_are_hardest():
    bauer = clause(noun("the", "farmer", "young"), "seek", noun("the", "lion", "old"), "garden", "monday")
    frei = clause(NP("person", None, "anna", "petrov"), "visit", NP("person", None, "paul", "miller"), None, "today")
    cases = {
        (bauer, "fronted"): (
            "On Monday, the young farmer looks for the old lion in the garden.",
            "Am Montag sucht der junge Bauer den alten Löwen im Garten.",
            "В понедельник молодой фермер ищет старого льва в саду.",
            "星期一那位年轻的农民在花园里寻找那头年老的狮子。",
        ),
        (clause(noun("two", "nurse"), "greet", noun("three", "girl"), "kitchen"), "statement"): (
            "Two nurses greet three girls in the kitchen.",
            "Zwei Krankenschwestern begrüßen drei Mädchen in der Küche.",
            "Две медсестры приветствуют трёх девочек на кухне.",
            "两位护士在厨房里问候三个女孩。",
        ),
        (clause(noun("no", "boy"), "wash", noun("the", "shirt", "white"), None, "now"), "statement"): (
            "No boy washes the white shirt now.",
            "Kein Junge wäscht jetzt das weiße Hemd.",
            "Ни один мальчик сейчас не моет белую рубашку.",
            "现在没有一个男孩洗那件白色的衬衫。",
        ),
        (clause(noun("every", "animal"), "sleep", None, "forest", "night"), "statement"): (
            "Every animal sleeps in the forest at night.",
            "Jedes Tier schläft in der Nacht im Wald.",
            "Каждое животное ночью спит в лесу.",
            "每只动物夜里都在森林里睡觉。",
        ),
        (frei, "statement"): (
            "Anna Petrova visits Paul Miller today.",
            "Anna Petrowa besucht heute Paul Miller.",
            "Анна Петрова сегодня навещает Пауля Миллера.",
            "安娜·彼得罗娃今天看望保罗·米勒。",
        ),
        (clause(noun("the", "cup"), "red", neg=True), "statement"): (
            "The cup is not red.",
            "Die Tasse ist nicht rot.",
            "Чашка не красная.",
            "那个杯子不是红色的。",
        ),
        (clause(NP("org", None, "aurora_bank"), "buy", noun("a", "elephant"), "france"), "statement"): (
            "Aurora Bank buys an elephant in France.",
            "Die Aurora Bank kauft einen Elefanten in Frankreich.",
            "Банк «Аврора» покупает слона во Франции.",
            "奥罗拉银行在法国买一头大象。",
        ),
        (clause(noun("the", "student"), "read", noun("the", "book"), "library", "evening", True), "statement"): (
            "The student does not read the book in the library in the evening.",
            "Der Student liest am Abend das Buch nicht in der Bibliothek.",
            "Студент вечером не читает книгу в библиотеке.",
            "学生晚上不在图书馆里读那本书。",
        ),
        (clause(noun("the", "student"), "read", noun("the", "book"), "library", "evening"), "where"): (
            "Where does the student read the book in the evening?",
            "Wo liest der Student am Abend das Buch?",
            "Где студент вечером читает книгу?",
            "学生晚上在哪里读那本书？",
        ),
    }
    for (value, template), wanted in cases.items():
        for code, text in zip(LANGUAGES, wanted, strict=True):
            assert grammar(code).sentence(value, template) == text


def test_inference_follows_logic():
    dog, boy, kitchen = noun("the", "dog"), noun("the", "boy"), "kitchen"
    sleeps = clause(dog, "sleep", None, kitchen, "night")
    cases = [
        (sleeps, clause(noun("a", "animal"), "sleep", None, "house"), "entailment"),
        (sleeps, clause(noun("some", "dog"), "sleep"), None),
        (sleeps, clause(dog, "sleep", neg=True), "contradiction"),
        (sleeps, clause(noun("no", "animal"), "sleep"), "contradiction"),
        (sleeps, clause(noun("the", "cat"), "sleep", None, kitchen), "neutral"),
        (clause(dog, "sleep", neg=True), clause(dog, "sleep", None, kitchen, "night", True), "entailment"),
        (clause(dog, "sleep", None, kitchen, neg=True), clause(dog, "sleep", neg=True), "neutral"),
        (clause(dog, "sleep", None, kitchen, neg=True), clause(dog, "sleep"), None),
        (clause(noun("no", "animal"), "sleep"), clause(dog, "sleep", None, kitchen, neg=True), "entailment"),
        (clause(noun("no", "animal"), "sleep"), clause(noun("two", "dog"), "sleep"), "contradiction"),
        (clause(noun("every", "child"), "sing"), clause(noun("the", "boy"), "sing"), "entailment"),
        (clause(noun("some", "boy"), "sing"), clause(noun("every", "boy"), "sing"), "neutral"),
        (clause(dog, "big"), clause(dog, "small"), "contradiction"),
        (clause(dog, "big"), clause(dog, "small", neg=True), "entailment"),
        (clause(dog, "big", neg=True), clause(dog, "small"), "neutral"),
        (clause(dog, None, None, kitchen), clause(dog, None, None, "park"), "contradiction"),
        (clause(dog, None, None, "berlin"), clause(dog, None, None, "germany"), "entailment"),
        (clause(boy, "eat", noun("three", "pear")), clause(boy, "eat", noun("some", "fruit")), "entailment"),
    ]  # fmt: skip
    for premise, hypothesis, label in cases:
        assert inference.relation(premise, hypothesis) == label, (premise, hypothesis)


def test_no_label_can_be_read_off_negation_or_length():
    rows = embedded.generate("mnli", "en", "train", 600, 1)
    negative = Counter(row["label"] for row in rows if {"not", "no"} & set(row["text_b"].lower().split()))
    assert max(negative.values()) - min(negative.values()) <= 6
    lengths = {
        label: [] for label in inference.__dict__.values() if label in ("entailment", "neutral", "contradiction")
    }
    for row in rows:
        lengths[row["label"]].append(len(row["text_b"].split()))
    means = [sum(values) / len(values) for values in lengths.values()]
    assert max(means) - min(means) < 2.0


PINNED = "5e9979547b7249ade2c84e4a8fbc98156e160c9850cc1a57ece4e3884327e091"


def test_bytes_are_pinned():
    value = [digest(embedded.generate(name, code, "test", 25, 1)) for name, code in every()]
    assert digest(value) == PINNED, "the generated data changed: say so in CHANGELOG.md and record the new value"
    assert embedded.generate("xnli", "ru", "test", 25, 1) == embedded.generate("xnli", "ru", "test", 50, 1)[:25]
    assert embedded.generate("xnli", "ru", "test", 25, 1) != embedded.generate("xnli", "ru", "test", 25, 2)


def test_hash_seed_does_not_matter():
    code = "import json; from xstilts import embedded as e; "
    code += "print(json.dumps([e.generate(n, 'en', 'test', 8, 1) for n in ('mnli', 'squad', 'cosmosqa', 'pawsx')]))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_errors_name_what_is_allowed():
    for arguments, words in (
        (("snli", "en", "test"), ("snli", "xnli")),
        (("xnli", "xx", "test"), ("xx", "de, en, ru, zh", "xx.yaml")),
        (("xnli", "en", "validation"), ("validation", "dev")),
        (("mnli", "de", "train"), ("mnli", "English")),
        (("tatoeba", "en", "test"), ("target side",)),
        (("xnli", "en", "test", 0), ("at least 1",)),
    ):
        with pytest.raises(UserError) as error:
            embedded.generate(*arguments)
        assert all(word in str(error.value) for word in words), error.value


def test_an_exhausted_space_says_how_many_there_are():
    with pytest.raises(UserError, match="only 7 different"):
        draws = iter(range(10**6))
        distinct(8, lambda i: (next(draws) % 7, i), "toy", "test")
    assert len(embedded.generate("commonsenseqa", "en", "test", 3000, 1)) == 3000


def test_a_language_that_reuses_a_grammar_is_one_file(tmp_path):
    for path in lexicon.FOLDER.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    text = (lexicon.FOLDER / "en.yaml").read_text(encoding="utf-8")
    words = text[text.index("\nnouns:") :].replace("[teacher, teachers]", "[tutor, tutors]")
    (tmp_path / "toy.yaml").write_text("language: toy\ngrammar: en\n" + words, encoding="utf-8")
    assert lexicon.languages(tmp_path) == ["de", "en", "ru", "toy", "zh"]
    toy = Grammar(lexicon.load("toy", tmp_path))
    assert toy.sentence(clause(noun("a", "teacher"), "sing", None, "park")) == "A tutor sings in the park."
    (tmp_path / "half.yaml").write_text("language: half\ngrammar: en\nnouns: {dog: [dog, dogs]}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"half\.yaml: nouns: misses person"):
        lexicon.load("half", tmp_path)
    (tmp_path / "loop.yaml").write_text("grammar: loop\n", encoding="utf-8")
    with pytest.raises(UserError, match="leads back"):
        lexicon.load("loop", tmp_path)


def test_held_out_names_are_not_in_training():
    assert len(tagging.held_out()) > 10
    names = {key for key in tagging.held_out() if key in lexicon.concepts()["first_names"]}
    train = {token.lower() for row in embedded.generate("panx", "en", "train", 500, 1) for token in row["tokens"]}
    assert not names & train


def test_the_samples_in_the_documentation_are_current():
    text = (lexicon.FOLDER.parents[1] / "docs" / "embedded.md").read_text(encoding="utf-8")
    assert samples(1).strip() in text, "write the output of `python -m xstilts.embedded` under '## Samples'"
