"""The attack job on a tiny random model: all kinds, the rows it writes, any number of processes, a killed job."""

import itertools
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import ROOT

from xstilts import catalog as catalogs
from xstilts.attacks.journal import Journal
from xstilts.errors import UserError
from xstilts.files import read_jsonl, write_jsonl
from xstilts.robustness import attack as stage
from xstilts.robustness import inputs
from xstilts.robustness.attacker import Attacker, Progress, results
from xstilts.robustness.victims import PredictorVictim, RetrievalVictim

TEXTS = {
    "en": "The old river runs past the stone bridge, and twice a year it floods the meadow behind our house.",
    "zh": "机器学习模型在多种语言的文本上接受训练。然后，它们会在没有见过的语言上接受测试，研究人员比较结果。",
}
HYPER = {"max_length": 128, "max_query_length": 64, "doc_stride": 64, "max_answer_length": 30, "n_best": 20}
HYPER |= {"labelled_piece": "first_nonboundary"}
HEADS = {"mnli": "pair", "udpos": "tagging", "squad": "span_qa"}
TARGETS = ("xnli", "udpos", "mlqa", "tatoeba", "bucc2018")
ROW = {
    "id", "outcome", "why", "queries", "vanished", "refused", "perturbed", "similarity", "clean", "attacked",
    "original", "adversarial",
}  # fmt: skip
CONSTRAINTS = {
    "min_length": 2, "keep_first": False, "keep_last": False, "letters_only": True, "by_script": {},
    "stop_words": False, "max_share": 0.4, "max_units": 2000, "max_distance": None, "similarity": None,
}  # fmt: skip
IDENTITY = {
    "version": 1,
    "transform": ["swap", "delete"],
    "options": {},
    "search": {"name": "greedy_trial"},
    "constraints": CONSTRAINTS,
    "goals": {
        "pair": {"right": 1.0, "below": 1.0},
        "tagging": {"right": 0.5, "drop": 0.1},
        "span_qa": {"right": 0.5, "below": 0.5},
        "retrieval": {"right": 1.0, "below": 1.0},
    },
    "budget": {"queries": 24, "ranked_units": 8, "changes": 3, "candidates": 4},
    "stand_ins": {},
    "set": None,
    "never_after": [],
    "kinds": ["pair", "tagging", "span_qa", "retrieval"],
    "scripts": "all",
    "fields": {"pair": ["text_b"], "tagging": ["tokens"], "span_qa": ["question", "context"], "retrieval": ["text"]},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folders of a trained cell with random weights, whose gold is what the model says: it is right everywhere."""
    from xstilts.evaluation.predict import Predictor
    from xstilts.models import checkpoints, fetch, loading

    torch.set_num_threads(1)
    root, tasks = tmp_path_factory.mktemp("study"), catalogs.load().tasks
    fetch.fetch({"model": "tiny", "source": {"type": "random"}, "identity": {}}, root / "models" / "tiny")
    for task, kind in HEADS.items():
        model = loading.load(root / "models" / "tiny")
        labels, options = tasks[task].identity.get("labels") or [], tasks[task].identity["options"]
        settings = {"kind": kind, "labels": labels, "options": options}
        model.add_head(task, kind, len(labels), seed=1, settings=settings)
        spec = {"stage": "target", "model": {"name": "tiny"}, "tasks": [{"task": task, "hyper": HYPER}]}
        checkpoints.save(root / "targets/tiny/none/s1" / task, model, root / "models" / "tiny", spec, keep_heads=True)
        target = {"mnli": "xnli", "udpos": "udpos", "squad": "mlqa"}[task]
        for language in ("en", "zh"):
            rows = [_example(kind, text, f"{language}-{n}", labels) for n, text in enumerate(_texts(language))]
            predictor = Predictor(model, task, kind, labels, HYPER, options, "fp32", stable=True)
            for row, found in zip(rows, predictor.predict(rows), strict=True):
                if kind == "span_qa":
                    start = row["context"].index(found["text"])
                    row["answers"] = [{"text": found["text"], "start": start}]
                else:
                    row |= {key: found[key] for key in ("label", "tags") if key in found}
            write_jsonl(root / "examples" / target / language / "test.jsonl", rows)
    for target in ("tatoeba", "bucc2018"):
        for language in ("en", "zh"):
            sides = (("source", "target"), ("target", "source"))
            rows = [
                {"id": f"{side}-{n}", "side": side, "text": text, "match": f"{other}-{n}"}
                for side, other in sides
                for n, text in enumerate(_texts(language))
            ]
            rows.append({"id": "source-x", "side": "source", "text": "a distractor", "match": None})
            write_jsonl(root / "examples" / target / language / "test.jsonl", rows)
    return root


def _texts(language):
    words = TEXTS[language].split() if language == "en" else list(TEXTS[language])
    return [("" if language == "zh" else " ").join(words[n:] + words[:n]) for n in range(4)]


def _example(kind, text, id, labels):
    if kind == "pair":
        return {"id": id, "text_a": text, "text_b": text[::-1][:40], "label": labels[0]}
    if kind == "tagging":
        tokens = text.split() if " " in text else [text[i : i + 2] for i in range(0, len(text), 2)]
        return {"id": id, "tokens": tokens, "tags": [labels[0]] * len(tokens)}
    return {"id": id, "context": f"{text}\n{text[5:]}\n{text[3:]}", "question": text[:20], "answers": []}


def spec(targets=TARGETS, identity=None, **changes):
    catalog = catalogs.load()
    entries = {}
    for target in targets:
        found = catalog.tasks[target].identity
        entries[target] = {"languages": ["en", "zh"], "kind": found["kind"], "labels": found.get("labels") or []}
        entries[target] |= {"options": found["options"], "training_task": found.get("training_task")}
        entries[target]["hyper"] = catalog.preset(target, "jiant") if found["kind"] == "retrieval" else HYPER
    return {
        "stage": "attack",
        "attack": {"name": "swaps", **IDENTITY, **(identity or {})},
        "model": {"name": "tiny", "layers": 2, "pre_norm": False},
        "intermediate": "none",
        "seed": 1,
        "precision": "fp32",
        "examples": 3,
        "attack_seed": 0,
        "seconds": None,
        "languages": {code: {"code": code, **catalog.languages[code]} for code in ("en", "zh")},
        "targets": entries,
        "stand_ins": {},
        "dictionaries": {},
    } | changes


def run(study, spec, out, **options):
    stage.run(spec, study, out, out / "cost.json", device="cpu", **options)
    return rows_of(out)


def rows_of(out):
    return {path.relative_to(out).as_posix(): read_jsonl(path) for path in sorted(out.rglob("*.jsonl"))}


def content(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.jsonl"))}


def command(study, spec, out, work, processes, *more):
    paths = ["--results", study, "--out", out, "--cost", out / "cost.json", "--work", work]
    parts = [sys.executable, ROOT / "scripts" / "attack.py", "--spec", json.dumps(spec), *paths, "--device", "cpu"]
    return [str(part) for part in [*parts, "--processes", processes, "--threads", 1, *more]]


def test_a_job_writes_every_row_and_repeats_to_the_byte(study, tmp_path):
    first = run(study, spec(), tmp_path / "first")
    assert sorted(first) == sorted(f"{target}/{language}.jsonl" for target in TARGETS for language in ("en", "zh"))
    for path, rows in first.items():
        more = {"clean_counts", "attacked_counts"} if path.startswith(("udpos", "bucc")) else set()
        assert len(rows) == len({row["id"] for row in rows}) == 3
        for row in rows:
            assert ROW | more <= set(row) <= ROW | more | {"answers"}, path
            assert row["outcome"] in ("succeeded", "failed", "skipped")
            assert all(0 <= row[key] <= 1 for key in ("clean", "attacked", "perturbed", "similarity"))
            if row["outcome"] != "skipped":
                assert row["clean"] > 0 and row["queries"] > 0
                assert (row["original"] != row["adversarial"]) == (row["perturbed"] > 0) == (row["similarity"] < 1)
    assert any(row["outcome"] == "succeeded" for rows in first.values() for row in rows)
    assert sum(row["outcome"] == "skipped" for rows in first.values() for row in rows) < 6
    cost = json.loads((tmp_path / "first" / "cost.json").read_text())
    assert cost["stage"] == "attack" and cost["tokens"] > 0 and cost["model"] == "tiny"
    assert not list((tmp_path / "first").glob(".attack*")), "journals of a finished job are deleted"
    again = run(study, spec(["mlqa", "udpos", "bucc2018"]), tmp_path / "again")
    assert all((tmp_path / "again" / path).read_bytes() == (tmp_path / "first" / path).read_bytes() for path in again)


def test_rows_stand_in_the_order_of_the_examples(study, tmp_path):
    found = run(study, spec(["xnli"], examples=None), tmp_path)
    assert [row["id"] for row in found["xnli/en.jsonl"]] == [f"en-{number}" for number in range(4)]


@pytest.mark.parametrize(("precision", "several"), [("fp32", (2, 4)), ("bf16", (2,))])
def test_one_two_and_four_processes_write_the_same_bytes(study, tmp_path, precision, several):
    asked = spec(("xnli", "mlqa", "bucc2018"), precision=precision, examples=None)
    run(study, asked, tmp_path / "1")
    one = content(tmp_path / "1")
    assert len(one) == 6
    for processes in several:
        out, work = tmp_path / str(processes), tmp_path / "work"
        done = subprocess.run(command(study, asked, out, work, processes), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert content(out) == one and f"({processes} of {processes})" in done.stdout
        assert json.loads((out / "cost.json").read_text())["tokens"] > 0
    assert not list((tmp_path / "work").glob(".attack*"))


def test_a_job_killed_by_sigkill_goes_on_from_its_journals(study, tmp_path):
    asked = spec(("udpos", "mlqa", "tatoeba"), examples=None)
    whole = tmp_path / "whole"
    run(study, asked, whole)
    killed, work = tmp_path / "killed", tmp_path / "work"
    job = subprocess.Popen(command(study, asked, killed, work, 2), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and job.poll() is None:
        lines = [line for path in work.rglob("*/*.jsonl") for line in path.read_bytes().splitlines()[1:]]
        if lines:
            break
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert lines and not content(killed), "it was killed when something was known and nothing was written"
    kept = [path for path in work.rglob("*.jsonl") if len(path.read_bytes().splitlines()) > 1]
    assert kept
    # and the last line of one was cut
    with open(kept[0], "ab") as handle:
        handle.write(b'{"id": "en-1", "outcome": "succ')
    done = subprocess.run(command(study, asked, killed, work, 1), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert content(killed) == content(whole)
    assert not list(work.glob(".attack*"))


def test_what_is_journalled_is_not_attacked_again(study, tmp_path, monkeypatch):
    from xstilts.models import loading

    entry = spec()["targets"]["xnli"]
    rows = read_jsonl(study / "examples/xnli/en/test.jsonl")
    model = loading.load(study / "models/tiny", study / "targets/tiny/none/s1/mnli")
    languages = {"en": {"script": "Latn", "spaces": True}}
    attacker = Attacker(model, 2, IDENTITY, languages, None, 0, "fp32")
    said = []
    with Journal(tmp_path / "rows.jsonl", "key") as journal:
        outcomes, tokens = attacker(rows, entry, "en", journal, lambda *numbers: said.append(numbers))
    assert tokens > 0 and [one.id for one in outcomes] == [row["id"] for row in rows]
    assert [done for done, _, _ in said] == [1, 2, 3, 4] and {total for _, total, _ in said} == {4}
    with Journal(tmp_path / "rows.jsonl", "key") as journal:
        again, tokens = attacker(rows, entry, "en", journal)
    assert again == outcomes and tokens == 0
    attacker.shard = (0, 2)
    first, _ = attacker(rows, entry, "en")
    attacker.shard = (1, 2)
    second, _ = attacker(rows, entry, "en")
    assert {one.id: one for one in first + second} == {one.id: one for one in outcomes}
    # what transfers read: the same scores as the attack saw, in any company
    changed = [{**row, "text_b": one.adversarial["text_b"]} for row, one in zip(rows, outcomes, strict=True)]
    for some in (changed, changed[::-1], changed[1:2]):
        found, tokens = results(model, entry, some, "en", "fp32")
        scores = {one.id: one.attacked for one in outcomes}
        assert [one["score"] for one in found] == [scores[row["id"]] for row in some] and tokens > 0


def test_retrieval_results_of_given_texts(study):
    from xstilts.models import loading

    entry = spec()["targets"]["tatoeba"]
    rows = read_jsonl(study / "examples/tatoeba/zh/test.jsonl")
    queries = [row for row in rows if row["side"] == "target"]
    model = loading.load(study / "models/tiny")
    found, tokens = results(model, entry, queries, "zh", "fp32", examples=rows, layers=2)
    assert [row["score"] for row in found] == [1.0] * len(queries) and tokens > 0


def test_a_static_set_is_predicted_once(study, tmp_path):
    rows = read_jsonl(study / "examples" / "xnli" / "en" / "test.jsonl")
    labels = catalogs.load().tasks["xnli"].identity["labels"]
    rows[1]["label"] = next(label for label in labels if label != rows[1]["label"])
    write_jsonl(study / "examples" / "advglue_mnli" / "en" / "test.jsonl", rows)
    identity = {"version": 1, "set": {"task": "advglue_mnli"}, "kinds": ["pair"], "scripts": "all"}
    identity |= {"never_after": [], "fields": {"pair": ["text_a", "text_b"]}}
    asked = spec(["xnli"], examples=None)
    asked["attack"] = {"name": "advglue_mnli", **identity}
    asked["targets"]["xnli"]["languages"] = ["en"]
    found = run(study, asked, tmp_path)
    assert list(found) == ["xnli/en.jsonl"]
    for number, row in enumerate(found["xnli/en.jsonl"]):
        assert row == {
            "id": rows[number]["id"],
            "outcome": "succeeded" if number == 1 else "failed",
            "why": "static set",
            "queries": 0,
            "clean": None,
            "attacked": float(number != 1),
            "original": {},
            "adversarial": {"text_a": rows[number]["text_a"], "text_b": rows[number]["text_b"]},
        }


@pytest.mark.parametrize("name", ["deepwordbug", "pruthi", "badchars", "charswap", "lookalike"])
def test_attacks_of_the_catalog_run_on_every_kind(study, tmp_path, name):
    attacks = catalogs.load().attacks
    identity = attacks[name].identity
    assert "transform" in identity
    asked = spec([name for name in TARGETS if spec()["targets"][name]["kind"] in identity["kinds"]], examples=2)
    asked["attack"] = {"name": name, **identity}
    letters = {"alphabet": list("abcdefghij"), "keyboard": {"a": ["q", "s"], "e": ["w", "r"]}}
    asked["languages"] = {code: row | letters for code, row in asked["languages"].items()}
    for path, rows in run(study, asked, tmp_path).items():
        assert len(rows) == 2, path


def bad_rows(kind, label):
    """Empty, endless, not Unicode, controls: whatever a file may hold."""
    texts = {
        "empty": "",
        "spaces": " \t ",
        "endless": "word " * 10_000,
        "surrogate": "half \ud83d an emoji",
        "controls": "a\x00b\x1b[31m c\u202e d\u200b e\r\n f",
        "good": "An ordinary sentence without anything in it.",
    }
    for id, text in texts.items():
        row = {"id": id}
        if kind == "pair":
            yield row | {"text_a": text, "text_b": text, "label": label}
        elif kind == "tagging":
            tokens = text.split() or [text]
            yield row | {"tokens": tokens, "tags": ["NOUN"] * len(tokens)}
        else:
            yield row | {"context": text, "question": text[:500], "answers": [{"text": text[:4], "start": 0}]}
    if kind == "span_qa":
        yield {"id": "none", "context": "Nothing is known.", "question": "What?", "answers": []}


@pytest.mark.parametrize(("target", "task"), [("xnli", "mnli"), ("udpos", "udpos"), ("mlqa", "squad")])
def test_bad_texts_are_skipped_for_a_reason_and_the_job_goes_on(study, tmp_path, target, task):
    entry = spec()["targets"][target]
    rows = list(bad_rows(entry["kind"], entry["labels"][0] if entry["labels"] else ""))
    for part in ("models", "targets"):
        (tmp_path / part).symlink_to(study / part)
    path = tmp_path / "examples" / target / "en" / "test.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
    asked = spec([target], examples=None)
    asked["targets"][target]["languages"] = ["en"]
    # any text is attacked, whatever the model says of it
    asked["attack"]["goals"] = {asked["targets"][target]["kind"]: {"right": 0.0, "below": -1.0}}
    asked["attack"]["constraints"] = CONSTRAINTS | {"letters_only": False}
    (found,) = run(tmp_path, asked, tmp_path / "out").values()
    why = {row["id"]: (row["outcome"], row["why"]) for row in found}
    assert why["surrogate"] == ("skipped", "not valid Unicode")
    assert why["endless"] == ("skipped", "too long")
    assert why["empty"][0] == why["spaces"][0] == "skipped"
    assert why["good"][0] == why["controls"][0] == "failed"
    assert [row["id"] for row in found] == [row["id"] for row in rows]


def test_a_kind_that_the_attack_does_not_have_is_refused_before_any_work(study, tmp_path):
    wrong = spec(identity={"kinds": ["pair"]})
    with pytest.raises(UserError, match=r"swaps\.yaml: target udpos: kind 'tagging' is not supported"):
        run(study, wrong, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_without_the_head_is_named(study, tmp_path):
    wrong = spec(["xnli"])
    (tmp_path / "targets/tiny/none/s1").mkdir(parents=True)
    for part in ("models", "examples"):
        (tmp_path / part).symlink_to(study / part)
    (tmp_path / "targets/tiny/none/s1/mnli").symlink_to(study / "targets/tiny/none/s1/squad")
    with pytest.raises(UserError, match=r"no head for 'mnli'; it has: squad"):
        run(tmp_path, wrong, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_b": None}, "row 1: no label, text_b; a pair example needs them"),
        ({"label": "maybe", "text_b": "b"}, "label 'maybe'; allowed: entail"),
    ],
)
def test_examples_that_lack_something_are_named(tmp_path, change, message):
    row = {"id": "1", "text_a": "a"} | {key: value for key, value in change.items() if value is not None}
    write_jsonl(tmp_path / "test.jsonl", [row])
    with pytest.raises(UserError, match=message.replace("no label, text_b", "no text_b, label")):
        stage.read(tmp_path / "test.jsonl", spec()["targets"]["xnli"])


def test_an_id_that_cannot_be_written_is_named(tmp_path):
    row = {"id": "a\ud800", "text_a": "a", "text_b": "b", "label": "entailment"}
    (tmp_path / "test.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"test\.jsonl: row 1: id a\\ud800: not valid Unicode"):
        stage.read(tmp_path / "test.jsonl", spec()["targets"]["xnli"])


def test_a_static_set_without_rows_has_none():
    attacker = Attacker(None, 2, {"fields": {}}, {}, None, 0, "fp32")
    assert attacker.static([], {"kind": "pair"}, "en") == ([], 0)


def test_a_journal_knows_every_file_that_the_outcomes_depend_on(tmp_path):
    entry = {"training_task": "mnli", "parallel": ["de"]}
    asked = {
        "attack": {}, "model": {"name": "victim"}, "intermediate": "none", "seed": 1, "targets": {"xnli": entry},
        "stand_ins": {
            "mlm": {"model": {"name": "base"}, "intermediate": "mlm", "seed": 2}, "encoder": {"model": {"name": "enc"}},
        },
    }  # fmt: skip
    read = [
        "models/victim/model.safetensors", "targets/victim/none/s1/mnli/model.safetensors",
        "examples/xnli/en/test.jsonl", "examples/xnli/de/test.jsonl", "models/base/model.safetensors",
        "encoders/base/mlm/s2/model.safetensors", "models/enc/model.safetensors",
    ]  # fmt: skip
    for name in read:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    place = inputs.Place(tmp_path, tmp_path / "kept", None, "cpu")
    keys = [inputs.key_of(asked, place, "xnli", "en")]
    for name in read:
        (tmp_path / name).write_text("x" * (len(keys) + 1))
        keys.append(inputs.key_of(asked, place, "xnli", "en"))
    assert all(one != other for one, other in itertools.pairwise(keys))


def test_a_failing_process_ends_the_job_and_what_was_done_is_kept(study, tmp_path):
    asked = spec(["xnli", "udpos"])
    for part in ("models", "examples"):
        (tmp_path / part).symlink_to(study / part)
    (tmp_path / "targets/tiny/none/s1").mkdir(parents=True)
    (tmp_path / "targets/tiny/none/s1/mnli").symlink_to(study / "targets/tiny/none/s1/mnli")
    done = subprocess.run(
        command(tmp_path, asked, tmp_path / "out", tmp_path / "work", 2), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "What was attacked is kept" in done.stderr and "udpos" in done.stderr
    assert "Traceback" not in done.stderr
    assert any(len(path.read_bytes().splitlines()) > 1 for path in (tmp_path / "work").rglob("*.jsonl"))


def test_progress_is_said_now_and_then(capsys):
    now = [0.0]
    progress = Progress("swaps xnli en", lambda: now[0])
    for done in range(1, 21):
        now[0] += 3.0
        progress(done, 40, 100 * done)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[0] == "swaps xnli en: 4 of 40 examples, 33 queries/s, about 108 s left"


def test_tagging_and_answer_scores_are_the_official_ones():
    class Tokenizer:
        pass

    predictions = [{"tags": ["B-PER", "I-PER", "O"], "scores": np.eye(3)}]
    labels = ["B-PER", "I-PER", "O"]
    victim = PredictorVictim(lambda rows: predictions, Tokenizer(), "tagging", labels, {}, "en")
    right, none = (
        victim([{"id": "1", "tokens": ["a"] * 3, "tags": tags}])[0] for tags in (["B-PER", "I-PER", "O"], ["O"] * 3)
    )
    assert right == {"score": 1.0, "loss": 0.0, "counts": [1, 1, 1]}
    assert none == {"score": 0.0, "loss": pytest.approx(2 / 3), "counts": [0, 1, 0]}
    options = {"normalisation": "mlqa"}
    victim = PredictorVictim(
        lambda rows: [{"text": "der Hund", "score": 0.5}], Tokenizer(), "span_qa", [], options, "de"
    )
    (found,) = victim([{"id": "1", "answers": [{"text": "Hund", "start": 0}]}])
    assert found == {"score": 1.0, "loss": 0.5}


def test_retrieval_is_right_when_the_gold_is_nearest():
    vectors = {"a": [1.0, 0.0], "b": [0.0, 1.0], "near b": [0.6, 0.8]}
    pool = [{"id": "A", "text": "a"}, {"id": "B", "text": "b"}]
    asked = []

    def embed(texts):
        asked.extend(texts)
        return np.array([vectors[text] for text in texts], dtype=np.float32)

    victim = RetrievalVictim(embed, None, pool, counts=True)
    queries = [{"id": "1", "text": "near b", "match": "B"}, {"id": "2", "text": "near b", "match": "A"}]
    right, wrong = victim(queries)
    assert right["score"] == 1 and right["counts"] == [1, 1, 1] and right["loss"] == pytest.approx(-0.2)
    assert wrong["score"] == 0 and wrong["counts"] == [0, 1, 1] and wrong["loss"] == pytest.approx(0.2)
    victim(queries)
    assert len(asked) == 4, "the second time the answers come from the cache"


def test_results_are_remembered_by_text_and_only_so_many():
    asked = []

    class Tokenizer:
        def encode_batch_fast(self, texts, add_special_tokens):
            asked.append(list(texts))
            return [type("Encoding", (), {"ids": list(text.lower())}) for text in texts]

    def predict(rows):
        asked.append([row["id"] for row in rows])
        return [{"label": "a", "scores": {"a": 0.75, "b": 0.25}} for _ in rows]

    def row(id, text, label="a"):
        return {"id": id, "text_a": "premise", "text_b": text, "label": label}

    victim = PredictorVictim(predict, Tokenizer(), "pair", ["a", "b"], {}, "en")
    victim._most = 3
    first = victim([row("1", "x"), row("2", "x"), row("3", "x", "b"), row("4", "\ud83d")])
    assert first[:3] == [{"score": 1.0, "loss": 0.25}] * 2 + [{"score": 0.0, "loss": 0.75}]
    assert asked.pop() == ["2", "3", "4"], "equal texts with an equal gold are asked once"
    assert victim([row("5", "x")]) == first[:1] and not asked
    victim([row("6", "y")])
    victim([row("7", "x")])
    assert asked == [["6"], ["7"]], "the oldest was forgotten"
    asked.clear()
    assert victim.same_inputs([("Word", "word"), ("word", "w0rd"), ("Word", "WORD")]) == [True, False, True]
    assert asked == [["Word", "word", "w0rd", "WORD"]]
    assert victim.same_inputs([("w0rd", "word")]) == [False] and len(asked) == 1


def test_a_query_has_the_same_result_in_any_company():
    random = np.random.default_rng(0)
    vectors = {f"t{i}": random.normal(size=48).astype(np.float32) for i in range(120)}
    vectors = {name: value / np.linalg.norm(value) for name, value in vectors.items()}
    pool = [{"id": name, "text": name} for name in list(vectors)[:70]]
    queries = [{"id": name, "text": name, "match": f"t{i % 70}"} for i, name in enumerate(list(vectors)[70:])]

    def found(rows):
        victim = RetrievalVictim(lambda texts: np.array([vectors[t] for t in texts]), None, pool, counts=False)
        return dict(zip((row["id"] for row in rows), victim(rows), strict=True))

    together = found(queries)
    for some in (queries[::-1], queries[3:4], queries[5:20:2]):
        assert found(some) == {row["id"]: together[row["id"]] for row in some}
    for query in queries:
        cosines = np.array([vectors[query["text"]] @ vectors[row["text"]] for row in pool], np.float64)
        gold = int(query["match"][1:])
        assert together[query["id"]]["score"] == float(cosines.argmax() == gold)
        assert together[query["id"]]["loss"] == pytest.approx(np.delete(cosines, gold).max() - cosines[gold], abs=1e-6)


def test_attacks_import_neither_torch_nor_transformers():
    code = (
        "import sys, xstilts.attacks.engine, xstilts.robustness.victims;"
        "print({'torch', 'transformers', 'pandas'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["polygloss", "bumblebee", "textfooler", "hotflip", "addsent"])
def test_what_an_attack_asks_is_found_below_the_results(study, tmp_path, name):
    identity = catalogs.load().attacks[name].identity
    target = "mlqa" if name == "addsent" else "xnli"
    for part in ("models", "targets"):
        (tmp_path / part).symlink_to(study / part)
    for language in ("en", "zh"):  # the same ids: translations of one another
        rows = read_jsonl(study / "examples" / target / language / "test.jsonl")
        rows = [{**row, "id": row["id"][3:]} | ({"label": rows[0]["label"]} if "label" in row else {}) for row in rows]
        write_jsonl(tmp_path / "examples" / target / language / "test.jsonl", rows)
    asked = spec([target], examples=None)
    asked["attack"] = {"name": name, **identity, "goals": identity["goals"] | {"pair": {"right": 0.0, "below": -1.0}}}
    asked["targets"][target]["languages"] = ["en"]
    asked["targets"][target]["parallel"] = ["zh"]
    if "encoder" in identity["stand_ins"]:
        layer = {"layer": "last", "pooling": "mean", "max_length": 64}
        asked["stand_ins"] = {"encoder": {"model": asked["model"], **layer}}
    if "dictionaries" in identity["stand_ins"]:
        asked["dictionaries"] = {"en-zh": {"source": "embedded", "file": None, "sha256": "0"}}
    (rows,) = run(tmp_path, asked, tmp_path / "out").values()
    assert len(rows) == 4 and not {"no stand-in", "no parallel text", "no dictionary"} & {row["why"] for row in rows}
    # the others find no candidate in these few words
    assert name not in ("bumblebee", "textfooler") or sum(row["queries"] for row in rows) > 0


def test_the_vectors_of_a_pool_are_kept_for_other_attacks_on_the_same_model(study, tmp_path, monkeypatch):
    from xstilts.evaluation.embedding import Embedder

    embedded, plain = [], Embedder.embed

    def noted(self, texts, layers):
        embedded.append(tuple(texts))
        return plain(self, texts, layers)

    monkeypatch.setattr(Embedder, "embed", noted)
    asked, work = spec(("bucc2018",)), tmp_path / "work"
    first = run(study, asked, tmp_path / "first", work=work)
    pool = tuple(
        row["text"] for row in read_jsonl(study / "examples/bucc2018/en/test.jsonl") if row["side"] == "target"
    )
    assert pool in embedded
    embedded.clear()
    run(study, spec(("bucc2018",), identity={"version": 9}), tmp_path / "other", work=work)
    assert run(study, asked, tmp_path / "again", work=work) == first
    assert embedded and pool not in embedded, "the pool was not embedded again"
    run(study, asked | {"seed": 2}, tmp_path / "seed", work=work)
    assert pool in embedded, "another training has vectors of its own"
