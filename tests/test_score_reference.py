"""`xstilts score` against the independent implementation in xtreme_reference.py: random submissions, difference 0.

Every round writes a gold folder and a submission of all nine tasks and compares everything that is returned, the order
of its keys included. Texts mix words of all 40 languages with what normalisation trips over; tags, pairs and files are
as odd as the formats allow.
"""

import json
import os
import random
import unicodedata
from pathlib import Path

import pytest
import xtreme_reference as reference

from xstilts.evaluation import metrics, score

ROUNDS, BLOCKS, COMPLETE, SAME_LANGUAGES = 1000, 4, 24, 10

WORDS = """
af die huis is 'n groot            | ar البيت والمدينة ال قال بالسلام الجَدِيد    | bg къщата на ъгъла Щ
bn বাড়িটি ঢাকা ১৯৭১ আমি           | de die Straße eine STRASSE der Mitte dem ß  | el το ΣΊΣΥΦΟΣ σπίτι ς
en the a an house The cat's         | es el la unas niño los casa UN               | et maja õunad on
eu etxea da handi                   | fa خانه‌ها می‌روم ۱۲۳ الف                     | fi talo äiti yön
fr l'été la maison œuvre            | he שָׁלוֹם הבית של ירושלים                     | hi यह घर है। क़लम २०
hu őrült ház a az                   | id rumah besar di                            | it la casa perché l'
ja 東京タワー は ﾃﾚﾋﾞ がぎ 「本」     | jv omah gedhe ing                            | ka სახლი დიდი ᲡᲐᲮᲚᲘ
kk үй қала Әлем                     | ko 서울 은 집 한국어 서울                      | ml വീട് കേരളം ൧൨
mr घर आहे मोठे                      | ms rumah ini besar                           | my အိမ် ၁၂ မြန်မာ
nl een huis het ij IJ               | pt a casa não os                             | ru дом в Москве й ё
sw nyumba ya kubwa                  | ta வீடு பெரிய ௧௨                              | te ఇల్లు పెద్ద
th บ้านหลังใหญ่ ๑๒ กรุงเทพฯ น้ำ       | tl ang bahay ay                              | tr İstanbul ILIK ev ısı
ur گھر ہے بڑا ۱۲                    | vi của là cái chiếc những nhà Tôi            | yo ilé ńlá ọ̀kan
zh 北京 在2008年 龥龦一㐀 龦a b龦龦 的Olympics  |
"""
WORDS = {entry.split()[0]: entry.split()[1:] for row in WORDS.splitlines() for entry in row.split("|") if entry.strip()}
ODD = {
    "articles and runs": "the a an The A. a-b ،the of_the a_ _ '",
    "marks": ".. ! « » “x” — ‿ 、 。 ؟ ، । ॥ … ¿que? $ € +1 ° 😀 👩\u200d👧",
    "letters and digits": "² ½ ٣ １２３ Ａ ﬁ ẞ ı 𠀀 𝒜 a\u0301 an\u0308 \u200b \u200da \u00ad \ufeffthe \U0010ffff \0",
}
ODD = [part for parts in ODD.values() for part in parts.split()] + ["", " ", "\u00a0the\u00a0"]
JOINTS = [" ", " ", " ", "", "  ", "\u3000", "\t", "\u2028", "\u00a0", "-", ", "]
FORMS = [str, str, str, str.upper, str.title, str.swapcase]
FORMS += [lambda text, form=form: unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKD")]

TAGS = {
    "upos": "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X",
    "iob": "O O O B-PER I-PER B-ORG I-ORG B-LOC I-LOC",
    "odd": "X-O E-PER I-PER B-PER S- S-PER . .-PER - O-PER O B I E S L-PER U-PER E-O B- -PER PER- B-a-b I-b I-a-b 名",
}
TAGS = {name: tags.split() for name, tags in TAGS.items()}
TAGS = {"udpos": [TAGS["upos"], TAGS["upos"], TAGS["odd"]], "panx": [TAGS["iob"], TAGS["iob"], TAGS["odd"], ["O"]]}
LABELS = {"xnli": ["entailment", "neutral", "contradiction"], "pawsx": ["0", "1"]}


def phrase(rng, language):
    """A text of one language, another or none, possibly empty or of nothing that counts."""
    words = WORDS[rng.choice([language, language, language, rng.choice(list(WORDS))])]
    parts = [rng.choice(ODD if rng.random() < 0.3 else words) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4, 6]))]
    return rng.choice(FORMS)("".join(part + rng.choice(JOINTS) for part in parts))


def near(rng, text, language):
    """Another answer that shares something with a text."""
    how = rng.randrange(6)
    if how < 2:
        return text
    if how == 2:
        return rng.choice(FORMS)(rng.choice(ODD) + rng.choice(JOINTS) + text)
    if how == 3:
        start = rng.randrange(len(text) + 1)
        return text[start : rng.randint(start, len(text))]
    if how == 4:
        words = text.split(" ")
        rng.shuffle(words)
        return " ".join(words + rng.choices(words, k=1))
    return phrase(rng, language)


def write_lines(rng, path, lines):
    """Lines with the ends that files have: other systems' newlines, white space, no newline at the end."""
    newline = rng.choice(["\n", "\n", "\n", "\r\n", "\r"])
    rows = [line + rng.choice(["", "", "", " ", "\u3000"]) for line in lines]
    end = newline if rows and (not lines[-1] or rng.random() < 0.7) else ""
    path.write_bytes((newline.join(rows) + end).encode("utf-8"))


def tag_lines(rng, sentences):
    """An empty line after each sentence, of white space too; not always after the last."""
    lines = [line for tags in sentences for line in (*tags, rng.choice(["", "", " ", "\u3000"]))]
    return lines[:-1] if sentences[-1] and rng.random() < 0.5 else lines


def write_answers(rng, language, gold_path, given_path):
    questions, given = [], {f"other-{number}": "" for number in range(rng.choice([0, 0, 2]))}
    for number in range(rng.choice([1, 1, 2, 3, 4, 25])):
        answers = [phrase(rng, language) for _ in range(rng.choice([1, 1, 2, 3]))]
        given[f"{language}-{number}"] = near(rng, rng.choice(answers), language)
        answers = [{"text": text, "answer_start": 0} for text in answers]
        questions.append({"id": f"{language}-{number}", "question": "?", "answers": answers})
    cut = rng.randint(0, len(questions))
    paragraphs = [{"context": "", "qas": part} for part in (questions[:cut], questions[cut:])]
    data = [{"title": "", "paragraphs": part} for part in rng.choice([[paragraphs], [paragraphs[:1], paragraphs[1:]]])]
    gold = rng.choice([{"version": "1.1", "data": data}, {"data": data}, data])
    given = {"data": given} if rng.random() < 0.1 else given
    for path, content in ((gold_path, gold), (given_path, given)):
        text = json.dumps(content, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1]))
        path.write_bytes(text.encode("utf-8"))


def write_tags(rng, task, gold_path, given_path):
    tags, other = rng.choice(TAGS[task]), rng.choice(TAGS[task])
    sizes = [rng.choice([0, 1, 1, 2, 3, 5, 9]) for _ in range(rng.randint(1, 4))]
    gold = [rng.choices(tags, k=size) for size in sizes]
    gold[rng.randrange(len(gold))] += [] if sum(sizes) else [tags[0]]
    noise = rng.choice([0.0, 0.2, 0.5, 1.0])
    given = [[rng.choice(other) if rng.random() < noise else tag for tag in sentence] for sentence in gold]
    if rng.random() < 0.1:
        given = [["O"] * len(sentence) for sentence in gold]
    write_lines(rng, gold_path, tag_lines(rng, gold))
    write_lines(rng, given_path, tag_lines(rng, given))


def write_pairs(rng, language, gold_path, given_path):
    gold = [(f"{language}-{rng.randrange(6)}", f"en-{rng.randrange(6)}") for _ in range(rng.randint(1, 7))]
    given = rng.sample(gold, rng.randint(0, len(gold)))
    given += [(f"{language}-{rng.randrange(9)}", f"en-{rng.randrange(9)}") for _ in range(rng.choice([0, 0, 1, 4]))]
    given += given[: rng.choice([0, 0, 2])]
    for path, pairs in ((gold_path, gold), (given_path, given)):
        write_lines(rng, path, ["\t".join(pair) for pair in pairs])


def write_labels(rng, task, gold_path, given_path):
    n = rng.choice([1, 2, 3, 5, 7, 11])
    labels = LABELS.get(task) or [str(row) for row in range(n)]
    if rng.random() < 0.1:
        labels = ["İ", "i̇", "é", "e\u0301", "a b", "中"]
    gold = rng.choices(labels, k=n)
    noise = rng.choice([0.0, 0.3, 0.3, 1.0])
    given = [rng.choice(labels) if rng.random() < noise else label for label in gold]
    write_lines(rng, gold_path, gold)
    write_lines(rng, given_path, given)


def some_languages(rng):
    """One or two official languages of each task."""
    return {task: rng.sample(codes, rng.choice([1, 1, 2])) for task, codes in reference.ORDER.items()}


def write_submission(rng, folder, languages):
    """`folder`/given and `folder`/gold: a file a task and language, in place of what they held."""
    for task, codes in languages.items():
        for side in ("gold", "given"):
            (folder / side / task).mkdir(parents=True, exist_ok=True)
        for language in codes:
            name = f"test-{language}.json" if task in reference.QA else f"test-{language}.tsv"
            paths = folder / "gold" / task / name, folder / "given" / task / name
            if task in reference.QA:
                write_answers(rng, language, *paths)
            elif task in TAGS:
                write_tags(rng, task, *paths)
            elif task == "bucc2018":
                write_pairs(rng, language, *paths)
            else:
                write_labels(rng, task, *paths)
    return folder / "given", folder / "gold"


def check(found, expected):
    assert found == expected
    assert json.dumps(found) == json.dumps(expected)  # the order of keys too


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_submissions_equal_the_reference_in_every_bit(tmp_path, block):
    values = {task: set() for task in reference.ORDER}
    for number in range(ROUNDS // BLOCKS):
        rng = random.Random(f"{block} {number}")
        if number % SAME_LANGUAGES == 0:  # files are written over: making and deleting folders is most of the time
            folder, languages = tmp_path / str(number), some_languages(rng)
        given, gold = write_submission(rng, folder, languages)
        expected = reference.scores(given, gold)
        check(score.score_folder(given, gold, partial=True), expected)
        for task, seen in values.items():
            seen.add(expected[task]["avg_metric"])
    for task, seen in values.items():  # neither all wrong nor all right, or nothing would be compared
        assert {0, 100} < seen and len(seen) > 15, task


def test_complete_submissions_equal_the_reference_with_groups_and_all_task(tmp_path):
    for number in range(COMPLETE):
        given, gold = write_submission(random.Random(f"complete {number}"), tmp_path, reference.ORDER)
        expected = reference.scores(given, gold)
        assert list(expected)[:5] == ["all_task", "classification", "tagging", "qa", "retrieval"]
        check(score.score_folder(given, gold), expected)


@pytest.mark.parametrize("complete", [False, True])
def test_the_command_writes_what_the_reference_computes(tmp_path, complete):
    for number in range(1 if complete else 8):
        rng = random.Random(f"command {number}")
        languages = reference.ORDER if complete else some_languages(rng)
        given, gold = write_submission(rng, tmp_path / str(number), languages)
        out = tmp_path / f"{number}.json"
        partial = [] if complete else ["--partial"]
        assert score.main([str(given), "--gold", str(gold), "--json", str(out), *partial]) == 0
        check(json.loads(out.read_text(encoding="utf-8")), reference.scores(given, gold))


# What XTREME's own evaluate.py (838c13b, seqeval 0.0.12) gives for its mock_test_data.
MOCK = {
    "all_task": 62.1732,
    "classification": 41.0476,
    "tagging": 63.8627,
    "qa": 80.3757,
    "retrieval": 54.3056,
    "pawsx": {"avg_accuracy": 51.4286},
    "xnli": {"avg_accuracy": 30.6667},
    "panx": {"avg_f1": 57.5079},
    "udpos": {"avg_f1": 70.2175},
    "bucc2018": {"avg_f1": 55.0},
    "tatoeba": {"avg_accuracy": 53.6111},
    "xquad": {"avg_exact_match": 77.2727, "avg_f1": 79.9587},
    "mlqa": {"avg_exact_match": 57.1429, "avg_f1": 81.7688},
    "tydiqa": {"avg_exact_match": 88.8889, "avg_f1": 97.2222},
}


def test_xtremes_own_mock_data_scores_as_its_evaluator_says():
    if not os.environ.get("XSTILTS_XTREME_MOCK"):
        pytest.skip("XSTILTS_XTREME_MOCK does not name google-research/xtreme's mock_test_data (predictions, labels)")
    folder = Path(os.environ["XSTILTS_XTREME_MOCK"])
    found = score.score_folder(folder / "predictions", folder / "labels", partial=False)
    for name, expected in MOCK.items():
        value = {key: found[name][key] for key in expected} if isinstance(expected, dict) else found[name]
        assert value == pytest.approx(expected, abs=5.1e-5, rel=0), name


# (gold, predicted, F1, precision, recall): computed once with the real seqeval 0.0.12 (f1_score, precision_score and
# recall_score, times 100), which is not installed: tests/xtreme_reference.py is an implementation of our own.
SEQEVAL = [
    ("B-PER I-PER O B-LOC|B-ORG I-ORG O", "B-PER I-PER O B-LOC|B-ORG O O", 66.666667, 66.666667, 66.666667),
    ("NOUN NOUN VERB DET NOUN|PRON AUX VERB", "NOUN VERB VERB DET NOUN|PRON AUX AUX", 46.153846, 50.0, 42.857143),
    ("SCONJ SCONJ SYM SYM NOUN", "SCONJ SYM SYM SYM NOUN", 80.0, 80.0, 80.0),
    ("X X PUNCT|X", "X PUNCT PUNCT|X", 33.333333, 33.333333, 33.333333),
    ("ADJ NOUN|NOUN ADP NOUN", "ADJ NOUN|ADP NOUN NOUN", 44.444444, 50.0, 40.0),
    ("O B-PER I-PER O", "O I-PER I-PER O", 100.0, 100.0, 100.0),
    ("B-PER I-LOC I-LOC O B-LOC", "B-PER I-PER I-LOC O I-LOC", 33.333333, 33.333333, 33.333333),
    ("B-PER B-PER I-PER O", "B-PER I-PER I-PER O", 0.0, 0.0, 0.0),
    ("B-PER I-PER E-PER S-LOC O", "B-PER I-PER I-PER S-LOC O", 100.0, 100.0, 100.0),
    (". .-PER E-PER O|O I-PER", "E-PER .-PER E-PER O|O I-PER", 80.0, 66.666667, 100.0),
    ("S-A|. .-PER E-PER", "S-A|. I-PER E-PER", 50.0, 50.0, 50.0),
    ("S- I- X- -|O-PER PER- -PER", "S- I- - X-|I-PER PER- PER", 88.888889, 80.0, 100.0),
    ("B-a-b I-a-b I-b|O", "B-b I-b I-b|O", 100.0, 100.0, 100.0),
    ("L-PER U-PER O|U-LOC L-LOC", "I-PER I-PER O|B-LOC I-LOC", 100.0, 100.0, 100.0),
]


@pytest.mark.parametrize(("gold", "predicted", "f1", "precision", "recall"), SEQEVAL)
def test_tags_score_as_the_real_seqeval_scored_them(gold, predicted, f1, precision, recall):
    gold, predicted = ([sentence.split() for sentence in text.split("|")] for text in (gold, predicted))
    rows = metrics.statistics("tagging", {}, "en", gold, predicted)["f1"]
    found = metrics.precision_recall_f1(rows)
    expected = {"f1": f1, "precision": precision, "recall": recall}
    assert found == {name: pytest.approx(value, abs=1e-6) for name, value in expected.items()}


def test_all_languages_have_words():
    assert set(WORDS) == {language for official in reference.ORDER.values() for language in official}
