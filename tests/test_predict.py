"""The predictor: order, batches, token counts; and that the evaluate job writes what it should."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from tokenizers import Tokenizer, models, pre_tokenizers

from xstilts.errors import UserError
from xstilts.evaluation import evaluate, submission
from xstilts.evaluation.predict import Predictor, length_batches
from xstilts.models import checkpoints, loading
from xstilts.models.fetch import fetch

WORDS = [f"w{i}" for i in range(50)]
LABELS = [f"L{i}" for i in range(7)]
QA = {"max_length": 32, "max_query_length": 8, "doc_stride": 8, "max_answer_length": 6, "n_best": 20}
WIDTHS = {"pair": 7, "tagging": 7, "span_qa": 2, "choice": 1}


class FakeModel(torch.nn.Module):
    """A TaskModel's interface whose logits depend on the tokens alone, so that the right answer is known."""

    def __init__(self, kind="pair"):
        super().__init__()
        vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -9.0)]
        vocabulary += [(f"▁{word}", -1.0) for word in WORDS]
        self.tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
        self.tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        self.encoder = torch.nn.Embedding(len(vocabulary), 16)
        torch.nn.init.normal_(self.encoder.weight, generator=torch.Generator().manual_seed(0))
        self.head = torch.nn.Linear(16, WIDTHS[kind])
        torch.nn.init.zeros_(self.head.bias)
        torch.nn.init.normal_(self.head.weight, generator=torch.Generator().manual_seed(1))
        self.kind, self.pad_id, self.shapes = kind, 1, []
        self.device = torch.device("cpu")

    def logits(self, task, batch):
        assert not self.training and not torch.is_grad_enabled()
        self.shapes.append(tuple(batch["input_ids"].shape))
        states = self.encoder(batch["input_ids"])
        if self.kind in ("tagging", "span_qa"):
            return self.head(states)
        mask = batch["attention_mask"].unsqueeze(-1)
        pooled = self.head((states * mask).sum(1))
        return pooled.flatten() if self.kind == "choice" else pooled


def examples_of(kind, count):
    random = np.random.default_rng(0)

    def text(longest):
        return " ".join(random.choice(WORDS, random.integers(0, longest)))

    rows = []
    for number in range(count):
        rows.append(
            {
                "pair": lambda: {"text_a": text(20), "text_b": text(9), "label": "L0"},
                "choice": lambda: {
                    "context": text(9),
                    "question": text(4),
                    "choices": [text(6) for _ in range(random.integers(1, 6))],
                    "label": 0,
                },
                "tagging": lambda: (lambda words: {"tokens": words, "tags": ["L0"] * len(words)})(text(60).split()),
                "span_qa": lambda: {"context": text(90), "question": text(12), "answers": []},
            }[kind]()
            | {"id": str(number)}
        )
    return rows


def predictor(kind, tokens=128):
    return Predictor(FakeModel(kind), "task", kind, LABELS, QA, {}, "fp32", tokens)


@pytest.mark.parametrize("kind", list(WIDTHS))
def test_predictions_come_in_order_and_do_not_depend_on_the_company(kind):
    rows = examples_of(kind, 60)
    together, alone = predictor(kind), predictor(kind)
    predictions = together.predict(rows)
    for row, prediction in zip(rows, predictions, strict=True):
        (single,) = alone.predict([row])
        name = "tags" if kind == "tagging" else "text" if kind == "span_qa" else "label"
        assert single[name] == prediction[name]
        if kind == "tagging":
            assert len(prediction["tags"]) == len(row["tokens"])
    assert together.tokens == alone.tokens > 0
    assert len(together.model.shapes) < len(alone.model.shapes)
    assert together.model.training


def test_batches_hold_the_budget_and_every_feature_once():
    random = np.random.default_rng(1)
    features = [{"input_ids": [0] * int(n)} for n in random.integers(1, 300, 500)]
    features[7] = {"input_ids": [0] * 90, "lengths": [20, 30, 40]}
    batches = list(length_batches(features, 256))
    assert sorted(number for batch in batches for number in batch) == list(range(500))
    for batch in batches:
        rows = sum(len(features[number].get("lengths", [1])) for number in batch)
        width = max(max(features[number].get("lengths", [len(features[number]["input_ids"])])) for number in batch)
        assert rows * width <= 256 or len(batch) == 1
    assert list(length_batches([], 10)) == []


def test_no_examples_no_predictions():
    assert predictor("pair").predict([]) == []


def job(tmp_path, monkeypatch, kind, targets, rows, work=None):
    for target, entry in targets.items():
        for language in entry["languages"]:
            folder = tmp_path / "examples" / target / language
            folder.mkdir(parents=True)
            (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(evaluate.loading, "load", lambda *_: FakeModel(kind))
    spec = {
        "stage": "evaluate",
        "model": {"name": "m", "layers": 2},
        "intermediate": "none",
        "seed": 1,
        "precision": "fp32",
        "training_task": "task",
        "kind": kind,
        "labels": LABELS,
        "hyper": QA,
        "targets": targets,
    }
    paths = [tmp_path / name for name in ("model", "checkpoint", "examples", "out", "cost.json")]
    evaluate.evaluate(spec, *paths, device="cpu", work=work)
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    return written, json.loads((tmp_path / "cost.json").read_text())


def test_job_writes_a_submission_file_for_every_target_and_language(tmp_path, monkeypatch):
    rows = examples_of("span_qa", 9)
    targets = {"xquad": {"languages": ["en", "zh"], "options": {}}, "mlqa": {"languages": ["en"], "options": {}}}
    written, cost = job(tmp_path, monkeypatch, "span_qa", targets, rows)
    assert written == ["mlqa/test-en.json", "xquad/test-en.json", "xquad/test-zh.json"]
    answers = submission.read_answers(tmp_path / "out" / "xquad" / "test-zh.json")
    assert list(answers) == [row["id"] for row in rows]
    assert all(answers[row["id"]] in row["context"] for row in rows)
    assert cost["tokens"] > 0 and cost["stage"] == "evaluate" and cost["model"] == "m" and cost["target"] == "task"
    assert {"device", "seconds", "tokens_per_s", "peak_memory_mb", "intermediate", "seed"} < set(cost)


def test_job_writes_tags_for_every_word(tmp_path, monkeypatch):
    rows = [row for row in examples_of("tagging", 9) if row["tokens"]]
    job(tmp_path, monkeypatch, "tagging", {"udpos": {"languages": ["en"], "options": {"scheme": "flat"}}}, rows)
    tags = submission.read_tags(tmp_path / "out" / "udpos" / "test-en.tsv")
    assert [len(sentence) for sentence in tags] == [len(row["tokens"]) for row in rows]


def test_job_refuses_an_empty_file_before_it_loads_a_model(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"test\.jsonl: holds no examples"):
        job(tmp_path, monkeypatch, "pair", {"xnli": {"languages": ["en"], "options": {}}}, [])
    assert not (tmp_path / "out").exists()


def test_scripts_run_by_hand_and_equal_runs_write_equal_bytes(tmp_path):
    source = {"type": "random", "config": {}, "seed": 3}
    fetch({"model": "tiny", "source": source, "identity": {}}, tmp_path / "model")
    spec = {"stage": "target", "model": {"name": "tiny", "layers": 2, "pre_norm": False}}
    model = loading.load(tmp_path / "model")
    model.add_head("panx", "tagging", 7, 1, {"kind": "tagging", "labels": LABELS, "options": {}})
    checkpoints.save(tmp_path / "checkpoint", model, tmp_path / "model", spec, keep_heads=True)
    tagging = [
        {"id": "1", "tokens": ["Ein", "机器", ""], "tags": ["L0"] * 3},
        {"id": "2", "tokens": ["x"], "tags": ["L1"]},
    ]
    texts = [
        {"id": f"{side}{i}", "side": side, "text": f"text {i}", "match": f"{other}{i}"}
        for side, other in (("source", "target"), ("target", "source"))
        for i in range(5)
    ]
    for folder, rows in (("panx/de", tagging), ("tatoeba/de", texts)):
        (tmp_path / "examples" / folder).mkdir(parents=True)
        (tmp_path / "examples" / folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec |= {"intermediate": "none", "seed": 1, "precision": "bf16"}
    spec |= {"training_task": "panx", "kind": "tagging", "labels": LABELS, "hyper": {"max_length": 64}}
    vectors = {"layer": "14/24", "pooling": "mean", "max_length": 64}
    for run in ("one", "two"):
        for script, stage, target, options in (
            ("evaluate", "evaluate", "panx", {"scheme": "iob2"}),
            ("retrieve", "retrieval", "tatoeba", {"mining": "nearest"}),
        ):
            entry = {"languages": ["de"], "options": options} | ({"hyper": vectors} if script == "retrieve" else {})
            spec |= {"stage": stage, "targets": {target: entry}}
            paths = {"model": "model", "examples": "examples", "out": run, "cost": f"cost-{run}-{script}.json"}
            # the second run takes the encodings of the first
            paths |= {"checkpoint": "checkpoint", "work": "work"} if script == "evaluate" else {}
            paths |= {"layers": f"{run}/layers.jsonl"} if script == "retrieve" else {}
            command = [
                sys.executable,
                str(ROOT / "scripts" / f"{script}.py"),
                "--spec",
                json.dumps(spec),
                "--threads",
                "1",
            ]
            command += [part for name, path in paths.items() for part in (f"--{name}", str(tmp_path / path))]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    tags = submission.read_tags(tmp_path / "one" / "panx" / "test-de.tsv")
    assert [len(sentence) for sentence in tags] == [3, 1]
    assert (tmp_path / "one" / "tatoeba" / "test-de.tsv").read_text() == "0\n1\n2\n3\n4\n"
    for name in ("panx/test-de.tsv", "tatoeba/test-de.tsv", "layers.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert json.loads((tmp_path / "cost-one-evaluate.json").read_text())["device"]
