"""The attack job on a tiny random model: all kinds, the rows it writes, and the command for one file."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from test_attacks import TEXTS

from xstilts import catalog as catalogs
from xstilts.errors import UserError
from xstilts.evaluation import attack as stage
from xstilts.evaluation.attack_file import attack_file, main
from xstilts.evaluation.victims import PredictorVictim, RetrievalVictim
from xstilts.files import read_jsonl, write_jsonl

HYPER = {"max_length": 128, "max_query_length": 64, "doc_stride": 64, "max_answer_length": 30, "n_best": 20}
HYPER |= {"labelled_piece": "first_nonboundary"}
HEADS = {"mnli": "pair", "udpos": "tagging", "squad": "span_qa"}
TARGETS = ("xnli", "udpos", "mlqa", "tatoeba", "bucc2018")
ROW = {
    "id", "outcome", "why", "queries", "vanished", "perturbed", "similarity", "clean", "attacked", "original",
    "adversarial",
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folders of a trained cell with random weights, whose gold is what the model says: it is right everywhere."""
    from xstilts.evaluation.predict import Predictor
    from xstilts.models import checkpoints, fetch, loading

    torch.set_num_threads(1)
    root, tasks = tmp_path_factory.mktemp("study"), catalogs.load().tasks
    fetch.fetch({"model": "tiny", "source": {"type": "random"}, "identity": {}}, root / "model")
    for task, kind in HEADS.items():
        model = loading.load(root / "model")
        labels, options = tasks[task].identity.get("labels") or [], tasks[task].identity["options"]
        settings = {"kind": kind, "labels": labels, "options": options}
        model.add_head(task, kind, len(labels), seed=1, settings=settings)
        spec = {"stage": "target", "model": {"name": "tiny"}, "tasks": [{"task": task, "hyper": HYPER}]}
        checkpoints.save(root / "targets" / task, model, root / "model", spec, keep_heads=True)
        target = {"mnli": "xnli", "udpos": "udpos", "squad": "mlqa"}[task]
        for language in ("en", "zh"):
            rows = [_example(kind, text, f"{language}-{n}", labels) for n, text in enumerate(_texts(language))]
            predictor = Predictor(model, task, kind, labels, HYPER, options, "fp32")
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


def spec(attack, targets=TARGETS, **changes):
    catalog = catalogs.load()
    entries = {}
    for target in targets:
        identity = catalog.tasks[target].identity
        entries[target] = {"languages": ["en", "zh"], "kind": identity["kind"], "labels": identity.get("labels") or []}
        entries[target] |= {"options": identity["options"], "training_task": identity.get("training_task")}
        entries[target]["hyper"] = catalog.preset(target, "jiant") if identity["kind"] == "retrieval" else HYPER
    return {
        "stage": "attack",
        "attack": {"name": attack, **catalog.attacks[attack].identity},
        "model": {"name": "tiny", "layers": 2, "pre_norm": False},
        "intermediate": "none",
        "seed": 1,
        "precision": "fp32",
        "examples": 3,
        "attack_seed": 0,
        "languages": {code: catalog.languages[code] for code in ("en", "zh")},
        "targets": entries,
    } | changes


def run(study, spec, out):
    folders = (study / "model", study / "no such encoder", study / "targets", study / "examples")
    stage.run(spec, *folders, out, out / "cost.json", "cpu")
    return {path.relative_to(out).as_posix(): read_jsonl(path) for path in sorted(out.rglob("*.jsonl"))}


@pytest.mark.parametrize("name", ["charswap", "lookalike"])
def test_a_job_writes_every_row_and_repeats_to_the_byte(study, tmp_path, name):
    first = run(study, spec(name), tmp_path / "first")
    assert sorted(first) == sorted(f"{target}/{language}.jsonl" for target in TARGETS for language in ("en", "zh"))
    for path, rows in first.items():
        counts = {"clean_counts", "attacked_counts"} if path.startswith(("udpos", "bucc")) else set()
        assert len(rows) == len({row["id"] for row in rows}) == 3
        for row in rows:
            assert set(row) == ROW | counts, path
            assert row["outcome"] in ("succeeded", "failed", "skipped")
            assert all(0 <= row[key] <= 1 for key in ("clean", "attacked", "perturbed", "similarity"))
            if row["outcome"] != "skipped":
                assert row["clean"] > 0 and row["queries"] > 0
                assert (row["original"] != row["adversarial"]) == (row["perturbed"] > 0) == (row["similarity"] < 1)
    assert any(row["outcome"] == "succeeded" for rows in first.values() for row in rows)
    assert sum(row["outcome"] == "skipped" for rows in first.values() for row in rows) < 6
    cost = json.loads((tmp_path / "first" / "cost.json").read_text())
    assert cost["stage"] == "attack" and cost["tokens"] > 0 and cost["model"] == "tiny"
    again = run(study, spec(name, ["mlqa", "udpos", "bucc2018"]), tmp_path / "again")
    assert all((tmp_path / "again" / path).read_bytes() == (tmp_path / "first" / path).read_bytes() for path in again)


def test_a_kind_that_the_attack_does_not_have_is_refused_before_any_work(study, tmp_path):
    wrong = spec("charswap")
    wrong["attack"]["kinds"] = ["pair"]
    with pytest.raises(UserError, match=r"charswap\.yaml: target udpos: kind 'tagging' is not supported"):
        run(study, wrong, tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_file_by_hand(study, tmp_path, capsys):
    data = study / "examples" / "mlqa" / "zh" / "test.jsonl"
    common = ["--base", str(study / "model"), "--attack", "charswap", "--device", "cpu", "--out"]
    out = tmp_path / "rows.jsonl"
    arguments = ["--model", str(study / "targets" / "squad"), "--task", "mlqa", "--data", str(data)]
    assert main([*arguments, *common, str(out), "--examples", "2"]) == 0
    assert len(read_jsonl(out)) == 2 and "queries" in capsys.readouterr().out
    tatoeba = study / "examples" / "tatoeba" / "zh" / "test.jsonl"
    arguments = ["--model", str(study / "model"), "--task", "tatoeba", "--data", str(tatoeba), "--attack", "lookalike"]
    assert main([*arguments, "--out", str(out), "--device", "cpu"]) == 0
    assert len(read_jsonl(out)) == 4


def test_a_retrieval_model_is_read_as_the_preset_says(study, tmp_path, monkeypatch):
    from xstilts.evaluation import embedding

    asked, layer_at = [], embedding.layer_at
    monkeypatch.setattr(embedding, "layer_at", lambda layer, blocks: asked.append(layer) or layer_at(layer, blocks))
    data, out = study / "examples" / "bucc2018" / "en" / "test.jsonl", tmp_path / "out.jsonl"
    for preset in ({}, {"preset": "xtreme-head"}):
        attack_file(study / "model", None, "bucc2018", data, "charswap", out, examples=1, device="cpu", **preset)
    assert asked == ["14/24", "20/24"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attack": "nonsense"}, "--attack.*allowed: charswap"),
        ({"task": "nonsense"}, "--task.*allowed:"),
        ({"language": "xx"}, "--language.*allowed:"),
        ({"task": "hellaswag"}, "kind 'choice' is not supported"),
        ({"task": "tatoeba", "preset": "nonsense"}, "tatoeba has no preset 'nonsense'.*jiant"),
        ({"task": "pawsx"}, "no head for pawsx, has mnli"),
        ({"data": {"id": "1", "text_a": "a", "text_b": "b"}}, "row 1: no label"),
        ({"data": {"id": "1", "text_a": "a", "text_b": "b", "label": "maybe"}}, "label 'maybe'; allowed: entail"),
    ],
)
def test_mistakes_in_the_command_are_named(study, tmp_path, change, message):
    given = {"task": "xnli", "attack": "charswap", "language": "en"} | change
    row = given.pop("data", {"id": "1", "text_a": "a", "text_b": "b", "label": "neutral"})
    write_jsonl(tmp_path / "data.jsonl", [row])
    with pytest.raises(UserError, match=message):
        attack_file(
            study / "targets" / "mnli", study / "model", data=tmp_path / "data.jsonl", out=tmp_path / "out", **given
        )


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


def test_attacks_import_neither_torch_nor_transformers():
    code = (
        "import sys, xstilts.attacks.engine, xstilts.evaluation.victims;"
        "print({'torch', 'transformers', 'pandas'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
