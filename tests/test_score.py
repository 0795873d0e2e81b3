"""Submission folders: official structure of the scores, per-example statistics that add up to them, wrong files."""

import random

import pytest

from xstilts import files
from xstilts.errors import UserError
from xstilts.evaluation import examples_scores, metrics, score, submission

LABELS = {"xnli": ["entailment", "neutral", "contradiction"], "pawsx": ["0", "1"]}
TAGS = {"udpos": ["NOUN", "VERB", "SYM", "X"], "panx": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]}


def write_language(folder, task, language, rng, gold_seed, noise):
    """Write one file: gold where `noise` is 0, else predictions of that error rate for the same gold."""
    gold_rng = random.Random(f"{gold_seed}{task}{language}")
    kind = score.KINDS[task]
    path = folder / task / submission.file_name(kind, language)
    wrong = lambda: rng.random() < noise  # noqa: E731
    if kind == "pair":
        gold = [gold_rng.choice(LABELS[task]) for _ in range(8)]
        submission.write_labels(path, [rng.choice(LABELS[task]) if wrong() else label for label in gold])
    elif kind == "tagging":
        gold = [[gold_rng.choice(TAGS[task]) for _ in range(gold_rng.randint(1, 6))] for _ in range(5)]
        submission.write_tags(path, [[rng.choice(TAGS[task]) if wrong() else tag for tag in tags] for tags in gold])
    elif kind == "span_qa":
        gold = {f"q{i}": " ".join(gold_rng.choices(["red", "green", "blue", "small"], k=3)) for i in range(6)}
        if noise:
            submission.write_answers(path, {key: "red green" if wrong() else text for key, text in gold.items()})
        else:
            examples = [
                {"id": key, "context": text, "question": "?", "answers": [{"text": text, "start": 0}]}
                for key, text in gold.items()
            ]
            submission.write_gold_answers(path, examples)
    elif task == "tatoeba":
        gold = gold_rng.sample(range(7), 7)
        submission.write_labels(path, [rng.randrange(7) if wrong() else row for row in gold])
    else:
        pairs = [(f"{language}-{i}", f"en-{gold_rng.randrange(99)}-{i}") for i in range(9)]
        submission.write_pairs(path, [(source, "en-x") if wrong() else (source, target) for source, target in pairs])


def folders(root, tasks=score.LANGUAGES, languages=None, noise=0.4, seed=0):
    """A gold folder and a submission folder of random examples."""
    rng = random.Random(seed)
    for name, rate in (("gold", 0.0), ("submission", noise)):
        for task in tasks:
            for language in languages or score.LANGUAGES[task]:
                write_language(root / name, task, language, rng, seed, rate)
    return root / "submission", root / "gold"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return folders(tmp_path_factory.mktemp("whole"))


def test_a_whole_submission_has_the_official_structure(whole):
    result = score.score_folder(*whole)
    assert list(result)[:5] == ["all_task", "classification", "tagging", "qa", "retrieval"]
    assert set(result) == {"all_task", *score.GROUPS, *score.LANGUAGES}
    for task, languages in score.LANGUAGES.items():
        for name, values in result[task].items():
            if not name.startswith("avg_"):
                assert tuple(values) == languages
                assert result[task][f"avg_{name}"] == pytest.approx(sum(values.values()) / len(values))
    xquad = result["xquad"]
    assert xquad["avg_metric"] == pytest.approx((xquad["avg_f1"] + xquad["avg_exact_match"]) / 2)
    assert result["qa"] == pytest.approx(sum(result[t]["avg_metric"] for t in ("xquad", "mlqa", "tydiqa")) / 3)
    assert result["all_task"] == pytest.approx(sum(result[t]["avg_metric"] for t in score.LANGUAGES) / 9)
    assert set(result["panx"]) >= {"f1", "precision", "recall", "avg_f1", "avg_precision", "avg_recall"}


def test_gold_as_submission_scores_100(tmp_path):
    right, gold = folders(tmp_path, tasks=["pawsx", "udpos", "bucc2018", "tatoeba"], noise=0.0)
    result = score.score_folder(right, gold)
    assert result["retrieval"] == 100
    assert all(value["avg_metric"] == 100 for value in result.values() if isinstance(value, dict))


def test_statistics_add_up_to_the_official_score(whole):
    submitted, gold = whole
    result = score.score_folder(*whole)
    for task, languages in score.LANGUAGES.items():
        kind, options, language = score.KINDS[task], score.OPTIONS.get(task, {}), languages[0]
        name = submission.file_name(kind, language)
        rows = examples_scores.statistics(task, kind, options, language, gold / task / name, submitted / task / name)
        for metric, array in rows.items():
            assert array.shape[1] == (3 if kind == "tagging" or task == "bucc2018" else 1)
            assert metrics.aggregate(array) == result[task][metric][language]


def test_one_language_missing_is_refused_unless_partial(tmp_path):
    submitted, gold = folders(tmp_path, ["pawsx", "xnli"])
    (submitted / "pawsx" / "test-ko.tsv").unlink()
    with pytest.raises(UserError, match=r"test-ko\.tsv.*--partial"):
        score.score_folder(submitted, gold)
    result = score.score_folder(submitted, gold, partial=True)
    assert "ko" not in result["pawsx"]["accuracy"]
    assert "xnli" in result
    assert "classification" not in result  # a group of an incomplete task would not be official


XNLI, PANX, XQUAD = "xnli/test-en.tsv", "panx/test-en.tsv", "xquad/test-en.json"
DAMAGES = {  # (file, what its text becomes)
    "a line less": (XNLI, lambda text: text.split("\n", 1)[1]),
    "an empty line": (XNLI, lambda text: text + "\n"),
    "a line of white space": (XNLI, lambda text: text.replace("\n", "\n\u3000\n", 1)),
    "a byte order mark": (XNLI, lambda text: "\ufeff" + text),
    "a sentence less": (PANX, lambda text: text.split("\n\n", 1)[1]),
    "an empty sentence more": (PANX, lambda text: text.replace("\n\n", "\n\n\n", 1)),
    "a tag less": (PANX, lambda text: text.split("\n", 1)[1]),
    "an id less": (XQUAD, lambda text: text.replace('"q3"', '"other"')),
    "an id twice": (XQUAD, lambda text: text.replace('"q3"', '"q2"')),
    "a number for an answer": (XQUAD, lambda text: text.replace("{", '{"q9": 3,', 1)),
    "a list": (XQUAD, lambda text: "[]"),
    "data that is no object": (XQUAD, lambda text: '{"data": []}'),
    "broken JSON": (XQUAD, lambda text: text[:-4]),
    "JSON with a byte order mark": (XQUAD, lambda text: "\ufeff" + text),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_wrong_file_is_named_and_nothing_is_written(tmp_path, capsys, case):
    submitted, gold = folders(tmp_path, ["xnli", "panx", "xquad"], ["en"])
    name, change = DAMAGES[case]
    text = (submitted / name).read_text(encoding="utf-8")
    assert change(text) != text
    (submitted / name).write_text(change(text), encoding="utf-8")
    out = tmp_path / "scores.json"
    assert score.main([str(submitted), "--gold", str(gold), "--json", str(out), "--partial"]) == 1
    assert str(submitted / name) in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda question: question.update(answers=[]), "no gold answer.*'q0'"),
        (lambda question: question["answers"][0].update(text=None), "'q0'.*not a string"),
        (lambda question: question.update(id="q1"), "not unique"),
        (lambda question: question.pop("answers"), "not a SQuAD-like file"),
    ],
)
def test_a_wrong_gold_file_is_named(tmp_path, change, what):
    submitted, gold = folders(tmp_path, ["xquad"], ["en"])
    content = files.read_json(gold / XQUAD)
    change(content["data"][0]["paragraphs"][0]["qas"][0])
    files.write_json(gold / XQUAD, content)
    with pytest.raises(UserError, match=f"{gold / XQUAD}.*{what}"):
        score.score_folder(submitted, gold, partial=True)


def test_what_is_not_scored_is_said(tmp_path, capsys):
    submitted, gold = folders(tmp_path, ["pawsx", "xnli", "xquad"], ["en", "de"])
    (submitted / "pawsx" / "test-xx.tsv").write_text("1\n")
    (submitted / "xnIi").mkdir()
    (submitted / "notes.txt").write_text("")
    (gold / "xquad" / "test-de.json").unlink()
    (gold / "xnli").rename(gold / "xnli-old")
    answers = files.read_json(submitted / XQUAD)
    files.write_json(submitted / XQUAD, answers | {"q77": ""})
    result = score.main([str(submitted), "--gold", str(gold), "--partial"])
    notes = capsys.readouterr().err
    assert result == 0
    names = (submitted / "pawsx" / "test-xx.tsv", submitted / "xnIi", gold / "xquad" / "test-de.json", gold / "xnli")
    for what in (*map(str, names), str(submitted / "notes.txt"), "'q77'"):
        assert sum(what in line for line in notes.splitlines()) == 1, what
    assert len(notes.splitlines()) == 6


def test_tasks_that_the_submission_lacks_are_said_and_the_rest_is_scored(tmp_path, capsys):
    submitted, gold = folders(tmp_path, ["pawsx", "tatoeba"])
    submitted.joinpath("xnli").write_text("entailment\n")
    for task in ("xnli", "udpos"):
        (gold / task).mkdir()
    assert score.main([str(submitted), "--gold", str(gold)]) == 0
    printed = capsys.readouterr()
    assert [line.split(":")[0] for line in printed.out.splitlines()] == ["pawsx", "tatoeba"]
    file, folder = printed.err.splitlines()
    assert file.startswith(f"note: {submitted / 'xnli'}: ignored, it is a file")
    assert folder.startswith(f"note: {submitted}: has no folder of xnli udpos, which {gold} has")


def test_a_place_that_cannot_be_written_is_named(tmp_path, capsys):
    submitted, gold = folders(tmp_path, ["pawsx"])
    (tmp_path / "file").write_text("kept")
    for out in (tmp_path / "file" / "scores.json", tmp_path / "file" / "more" / "scores.json", submitted / "pawsx"):
        assert score.main([str(submitted), "--gold", str(gold), "--json", str(out)]) == 1
        printed = capsys.readouterr()
        assert printed.err.startswith(f"error: {out}: could not be written (")
        assert "Name a file in a folder that you may write to" in printed.err
        assert not printed.out
    assert (tmp_path / "file").read_text() == "kept"
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("case", ["a line less", "a sentence less", "a tag less", "an id less"])
def test_files_that_do_not_fit_each_other_say_what_to_do(tmp_path, case):
    submitted, gold = folders(tmp_path, ["xnli", "panx", "xquad"], ["en"])
    name, change = DAMAGES[case]
    (submitted / name).write_text(change((submitted / name).read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(UserError, match=f"{submitted / name}.*{gold / name}.*Predict again from the test file"):
        score.score_folder(submitted, gold, partial=True)


def test_a_task_that_the_gold_lacks_is_refused_unless_partial(tmp_path):
    submitted, gold = folders(tmp_path, ["pawsx", "bucc2018"])
    for path in (gold / "pawsx").iterdir():
        path.unlink()
    (gold / "pawsx").rmdir()
    with pytest.raises(UserError, match=r"gold/pawsx: no such folder.*--partial"):
        score.score_folder(submitted, gold)
    assert set(score.score_folder(submitted, gold, partial=True)) == {"bucc2018"}


def test_mining_lines_need_two_ids(tmp_path):
    submitted, gold = folders(tmp_path, ["bucc2018"])
    for text in ("fr-1 en-1\n", "\n", "fr-1\ten-1\t0.9\n", "fr-1\t\n"):
        (submitted / "bucc2018" / "test-fr.tsv").write_text(text)
        with pytest.raises(UserError, match=r"test-fr\.tsv:1"):
            score.score_folder(submitted, gold)


def test_nothing_mined_scores_0(tmp_path):
    submitted, gold = folders(tmp_path, ["bucc2018"])
    for path in (submitted / "bucc2018").iterdir():
        path.write_text("")
    assert score.score_folder(submitted, gold)["bucc2018"]["avg_f1"] == 0


def test_empty_folders_say_what_is_expected(tmp_path):
    with pytest.raises(UserError, match="no task folder"):
        score.score_folder(tmp_path, tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        score.score_folder(tmp_path / "absent", tmp_path)


def test_the_command_writes_json_and_marks_partial_scores(tmp_path, capsys):
    submitted, gold = folders(tmp_path, ["pawsx", "xquad"], ["en"])
    out = tmp_path / "scores.json"
    assert score.main([str(submitted), "--gold", str(gold), "--json", str(out), "--partial"]) == 0
    assert set(files.read_json(out)) == {"pawsx", "xquad"}
    assert "1 of 7: not official" in capsys.readouterr().out


def test_official_languages_are_the_catalogs():
    catalog = pytest.importorskip("xstilts.catalog").load()
    for task, languages in score.LANGUAGES.items():
        assert sorted(catalog.tasks[task].identity["languages"]) == sorted(languages)
        assert catalog.tasks[task].identity["kind"] == score.KINDS[task]
        options = catalog.tasks[task].identity.get("options") or {}
        assert {key: options[key] for key in score.OPTIONS.get(task, {})} == score.OPTIONS.get(task, {})


def test_scores_of_predictions_in_memory():
    examples = [{"id": "1", "tokens": ["a", "b"], "tags": ["NOUN", "VERB"]}]
    found = examples_scores.score_examples("tagging", {}, "en", examples, [{"tags": ["NOUN", "NOUN"]}])
    assert found == {"f1": 0.0}
    examples = [{"id": "1", "answers": [{"text": "the cat", "start": 0}]}, {"id": "2", "answers": []}]
    options = {"normalisation": "squad"}
    found = examples_scores.score_examples("span_qa", options, "en", examples, [{"text": "cat"}, {"text": ""}])
    assert found == {"exact_match": 100.0, "f1": 100.0}
