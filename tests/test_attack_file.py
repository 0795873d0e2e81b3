"""`python -m xstilts attack`: one attack on one file, on checkpoints, exported folders and plain encoders."""

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from xstilts import catalog as catalogs
from xstilts.errors import UserError
from xstilts.files import read_json, read_jsonl, write_json, write_jsonl
from xstilts.robustness import byhand, parallel, terminal
from xstilts.robustness import file as attack_module
from xstilts.robustness.byhand import Given
from xstilts.robustness.file import attack_file, main

HEADS = {"mnli": ("xnli", "pair"), "udpos": ("udpos", "tagging"), "squad": ("mlqa", "span_qa")}
TEXTS = {
    "en": "The committee published three different reports about drinking water yesterday.",
    "de": "Der Ausschuss veröffentlichte gestern mehrere Berichte über die Wasserqualität im Süden.",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random model, a checkpoint of each kind, each exported, and examples that each gets right."""
    from xstilts.evaluation.predict import Predictor
    from xstilts.models import checkpoints, export, fetch, loading

    torch.set_num_threads(1)
    root, catalog = tmp_path_factory.mktemp("files"), catalogs.load()
    fetch.fetch({"model": "tiny", "source": {"type": "random"}, "identity": {}}, root / "model")
    for task, (target, kind) in HEADS.items():
        model, hyper = loading.load(root / "model"), catalog.preset(task, "jiant")
        labels, options = catalog.tasks[task].identity.get("labels") or [], catalog.tasks[task].identity["options"]
        model.add_head(task, kind, len(labels), seed=1, settings={"kind": kind, "labels": labels, "options": options})
        spec = {"stage": "target", "model": {"name": "tiny"}, "tasks": [{"task": task, "hyper": hyper}]}
        checkpoints.save(root / task, model, root / "model", spec, keep_heads=True)
        export.export(root / task, root / "model", root / f"{task}-exported")
        for language, text in TEXTS.items():
            words = text.split()
            rows = [example(kind, words[n:] + words[:n], f"{language}-{n}", labels) for n in range(6)]
            predictor = Predictor(model, task, kind, labels, hyper, options, "fp32")
            for row, found in zip(rows, predictor.predict(rows), strict=True):
                if kind == "span_qa":
                    row["answers"] = [{"text": found["text"], "start": row["context"].index(found["text"])}]
                else:
                    row |= {key: found[key] for key in ("label", "tags") if key in found}
            write_jsonl(root / target / language / "test.jsonl", rows)
    rows = [
        {"id": f"{side}-{n}", "side": side, "text": " ".join([*text.split()[n:], language]), "match": f"{other}-{n}"}
        for side, other, language in (("source", "target", "de"), ("target", "source", "en"))
        for n, text in enumerate([TEXTS[language]] * 4)
    ]
    write_jsonl(root / "tatoeba" / "de" / "test.jsonl", rows)
    return root


def example(kind, words, id, labels):
    if kind == "pair":
        return {"id": id, "text_a": " ".join(words[:5]), "text_b": " ".join(words), "label": labels[0]}
    if kind == "tagging":
        words = " ".join(words).replace(".", " .").split()
        return {"id": id, "tokens": words, "tags": [labels[0]] * len(words)}
    text = " ".join(words)
    return {"id": id, "context": f"{text}\n{text[5:]}", "question": text[:20], "answers": []}


def attacked(folder, out, task="xnli", model="mnli", language="en", base=True, attack="charswap", **more):
    """Rows of a small attack."""
    data = more.pop("data", folder / task / language / "test.jsonl")
    more |= {"device": "cpu", "language": language}
    attack_file(folder / model, folder / "model" if base else None, task, data, attack, out, **more)
    return read_jsonl(out)


@pytest.mark.parametrize(("model", "task"), [("mnli", "xnli"), ("udpos", "udpos"), ("squad", "mlqa")])
def test_an_exported_folder_gives_the_outcomes_of_its_checkpoint(folder, tmp_path, model, task):
    expected = attacked(folder, tmp_path / "a", task, model, examples=3)
    found = attacked(folder, tmp_path / "b", task, f"{model}-exported", base=False, examples=3)
    assert found == expected and any(row["queries"] for row in found)
    assert not (tmp_path / "a.journal").exists()


def test_a_plain_encoder_is_enough_for_retrieval(folder, tmp_path):
    rows = attacked(folder, tmp_path / "a", "tatoeba", "model", "de", base=False, attack="lookalike")
    assert [row["id"] for row in rows] == [f"target-{n}" for n in range(4)]
    assert all(set(row["original"]) == {"text"} for row in rows)


def test_a_retrieval_model_is_read_as_the_preset_says(folder, tmp_path, monkeypatch):
    from xstilts.evaluation import embedding

    asked, layer_at = [], embedding.layer_at
    monkeypatch.setattr(embedding, "layer_at", lambda layer, blocks: asked.append(layer) or layer_at(layer, blocks))
    more = {"data": folder / "tatoeba" / "de" / "test.jsonl", "base": False, "examples": 1}
    for preset in ("jiant", "xtreme-head"):
        attacked(folder, tmp_path / "a", "bucc2018", "model", "de", preset=preset, **more)
    assert asked == ["14/24", "20/24"]


@pytest.mark.parametrize("attack", ["badchars", "case", "diacritics", "punctuation"])
def test_unseen_changes_and_controls_run_on_every_kind(folder, tmp_path, attack):
    for model, (task, _) in HEADS.items():
        rows = attacked(folder, tmp_path / task, task, model, "de", attack=attack, examples=2)
        assert len(rows) == 2 and all(row["why"] != "kind not supported" for row in rows)
        if attack != "badchars":
            assert all(row["queries"] <= 1 for row in rows)
            assert any(row["original"] != row["adversarial"] for row in rows)
        for row in rows:
            if task == "udpos":
                counts = {text["tokens"].count("\t") for text in (row["original"], row["adversarial"])}
                assert len(counts) == 1


def test_labels_of_another_order_or_case_are_taken_as_the_model_has_them(folder, tmp_path):
    shutil.copytree(folder / "mnli-exported", tmp_path / "model")
    config = read_json(tmp_path / "model" / "config.json")
    names = [config["id2label"][str(number)] for number in range(3)]
    config["id2label"] = {str(number): name.upper() for number, name in enumerate(names)}
    write_json(tmp_path / "model" / "config.json", config)
    expected = attacked(folder, tmp_path / "a", model="mnli-exported", base=False, examples=2)
    arguments = (tmp_path / "model", None, "xnli", folder / "xnli" / "en" / "test.jsonl", "charswap", tmp_path / "b")
    attack_file(*arguments, examples=2, device="cpu")
    assert read_jsonl(tmp_path / "b") == expected
    config["id2label"] = {str(number): names[number - 1] for number in range(3)}
    write_json(tmp_path / "model" / "config.json", config)
    attack_file(*arguments, device="cpu")
    assert [row["clean"] for row in read_jsonl(tmp_path / "b")] == [0.0] * 6, "gold is what the other order said"
    config["id2label"] = {str(number): f"LABEL_{number}" for number in range(3)}
    write_json(tmp_path / "model" / "config.json", config)
    with pytest.raises(UserError, match=r"id2label: LABEL_0, LABEL_1, LABEL_2: the task's labels are .*entailment"):
        attack_file(*arguments, device="cpu")


def test_shards_make_up_the_whole(folder, tmp_path):
    whole = attacked(folder, tmp_path / "a", examples=5)
    parts = [row for n in (1, 2, 3) for row in attacked(folder, tmp_path / f"{n}", examples=5, shard=(n, 3))]
    assert len(whole) == 5 and sorted(parts, key=lambda row: row["id"]) == sorted(whole, key=lambda row: row["id"])


def test_a_stopped_command_goes_on_and_another_does_not(folder, tmp_path, monkeypatch):
    from xstilts.attacks import engine

    whole, attack, asked = attacked(folder, tmp_path / "a"), engine.attack, []

    def stopped(rows, *given, done=(), **more):
        asked.append(len(set(done)))
        for number, outcome in enumerate(attack(rows, *given, done=done, **more)):
            if number == 2 and len(asked) == 1:
                raise KeyboardInterrupt
            yield outcome

    monkeypatch.setattr(engine, "attack", stopped)
    with pytest.raises(KeyboardInterrupt):
        attacked(folder, tmp_path / "b")
    kept = (tmp_path / "b.journal").read_bytes()
    assert not (tmp_path / "b").exists() and kept
    assert attacked(folder, tmp_path / "b") == whole and asked[1] >= 2
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes() and not (tmp_path / "b.journal").exists()
    for more in ({"seed": 1}, {"resume": False}):
        (tmp_path / "b.journal").write_bytes(kept)
        attacked(folder, tmp_path / "b", **more)
        assert asked[-1] == 0
    row = attack_module._row
    for name, other in (
        ("stage_code", lambda stage: "attack@other"),
        ("_row", lambda *of: row(*of) | {"alphabet": []}),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(attack_module, name, other)
            (tmp_path / "b.journal").write_bytes(kept)
            attacked(folder, tmp_path / "b")
        assert asked[-1] == 0


def test_the_command_shows_what_changed(folder, tmp_path, capsys):
    data = folder / "udpos" / "de" / "test.jsonl"
    common = ["--model", str(folder / "udpos-exported"), "--task", "udpos", "--data", str(data), "--device", "cpu"]
    out = tmp_path / "rows.jsonl"
    assert main([*common, "--attack", "lookalike", "--out", str(out), "--show", "1"]) == 0
    shown = capsys.readouterr().out
    won = [row for row in read_jsonl(out) if row["outcome"] == "succeeded"]
    assert won and f"{won[0]['id']}: " in shown and "{+" in shown and "\x1b" not in shown and "\u200b" not in shown
    assert "queries" in shown.splitlines()[-1] and shown.count(" -> ") == 1
    assert main([*common, "--attack", "charswap", "--out", str(out), "--shard", "1/2", "--examples", "3"]) == 0
    for wrong in (["--shard", "3/2"], ["--parallel", "de"]):
        with pytest.raises(SystemExit):
            main([*common, "--attack", "charswap", "--out", str(out), *wrong])
        assert "allowed: " in capsys.readouterr().err


def test_an_attack_may_be_a_file(folder, tmp_path):
    entry = yaml.safe_load((catalogs.ROOT / "catalog" / "attacks" / "charswap.yaml").read_text(encoding="utf-8"))
    entry["identity"]["budget"]["changes"] = 1
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(entry), encoding="utf-8")
    rows = attacked(folder, tmp_path / "a", attack=str(path), examples=3)
    assert all(row["perturbed"] <= 1 / 10 for row in rows) and any(row["perturbed"] for row in rows)
    path.write_text("identity: {version: 1}", encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml.*missing"):
        attacked(folder, tmp_path / "a", attack=str(path))


def test_code_mixing_by_hand(folder, tmp_path):
    words = tmp_path / "en-de.txt"
    words.write_text("water\tWasser\nreports\tBerichte\nyesterday\tgestern\n", encoding="utf-8")
    labels = {row["id"].split("-")[1]: row["label"] for row in read_jsonl(folder / "xnli" / "en" / "test.jsonl")}
    parallel = tmp_path / "german.jsonl"
    german = [
        {"id": f"en-{number}", "text_a": TEXTS["de"], "text_b": "Berichte über Wasser gestern", "label": label}
        for number, label in labels.items()
    ]
    write_jsonl(parallel, german)
    given = Given(dictionaries={"en-de": str(words)}, parallel={"de": parallel})
    rows = attacked(folder, tmp_path / "a", attack="polygloss", given=given)
    changed = [row["adversarial"][name] for row in rows for name in ("text_a", "text_b")]
    assert any(word in text for word in ("Wasser", "Berichte") for text in changed)


def test_a_pre_norm_encoder_by_hand_is_read_as_the_catalog_says(tmp_path, monkeypatch):
    catalog, asked = catalogs.load(), []
    name = next(name for name, model in catalog.models.items() if model.identity["pre_norm"])
    for named in (name, "unknown"):
        write_json(tmp_path / named / "model.json", {"name": named})
        identity = catalog.attacks["bumblebee"].identity
        given = Given(encoder=tmp_path / named)
        made = byhand.stand_ins(identity, given, catalog, "cpu", "fp32")
        assert made._encoder["model"]["pre_norm"] is (named == name)
        monkeypatch.setattr(byhand.loading, "load", lambda *of: SimpleNamespace(config={"num_hidden_layers": 12}))
        monkeypatch.setattr(parallel.Aligner, "__init__", lambda self, *of: asked.append(of))
        find = byhand.resources(identity, given, catalog, "xnli", "en", tmp_path / "x", "cpu", "fp32")
        assert find({}, "en", [])["align"] and asked.pop()[-1] is (named == name)


@pytest.mark.parametrize("attack", ["bertattack", "textfooler", "bumblebee"])
def test_stand_ins_by_hand(folder, tmp_path, attack):
    from xstilts.models import checkpoints, loading

    model = loading.load(folder / "model")
    model.add_head("mlm", "mlm", 0, seed=1)
    checkpoints.save(tmp_path / "mlm", model, folder / "model", {"stage": "encoder", "model": {"name": "tiny"}}, True)
    rows = [{**row, "text_b": TEXTS["de"]} for row in read_jsonl(folder / "xnli" / "en" / "test.jsonl")]
    write_jsonl(tmp_path / "german.jsonl", rows)
    given = Given(tmp_path / "mlm", folder / "model", folder / "model", {}, {"de": tmp_path / "german.jsonl"})
    found = attacked(folder, tmp_path / "a", attack=attack, given=given, examples=2)
    assert len(found) == 2 and all(row["why"] not in ("no stand-in", "no parallel text") for row in found)
    if attack != "bertattack":  # a random model's likeliest pieces may be no words
        assert any(row["queries"] for row in found), [row["why"] for row in found]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attack": "nonsense"}, "--attack: 'nonsense' is unknown; allowed: .*charswap.*or a YAML file"),
        ({"attack": "no/such.yaml"}, r"such\.yaml: no such file"),
        ({"task": "nonsense"}, "--task: 'nonsense' is unknown; allowed:"),
        ({"language": "xx"}, "--language: 'xx' is unknown; allowed:"),
        ({"task": "hellaswag"}, "kind 'choice' is not supported"),
        ({"attack": "addsent"}, "--attack addsent: kind 'pair' is not supported; this attack has span_qa"),
        ({"attack": "case", "language": "hi"}, r"--attack case: not for Hindi \(Deva\); its scripts: Latn, Cyrl, Grek"),
        ({"attack": "bertattack"}, "--attack bertattack: needs --mlm CHECKPOINT --mlm-base MODEL"),
        ({"attack": "textfooler"}, "--attack textfooler: needs --encoder MODEL"),
        ({"attack": "polygloss"}, "--attack polygloss: needs --dictionary en-de=FILE"),
        ({"attack": "bumblebee", "given": Given(encoder=Path("x"))}, "--attack bumblebee: needs --parallel de=FILE"),
        ({"attack": "textfooler", "given": Given(encoder=Path("no"))}, r"no/model\.safetensors: no such file"),
        ({"attack": "anli_r1"}, "--attack anli_r1: a static set"),
        ({"task": "pawsx"}, "no head for pawsx, has mnli"),
        ({"base": False}, "--model .*mnli: a checkpoint, trained from tiny: give --base"),
        ({"model": "model", "base": False}, r"no head for mnli \(kind pair\), has none \(a plain encoder\)"),
        ({"model": "udpos-exported", "base": False}, "has XLMRobertaForTokenClassification.*kind tagging"),
        ({"task": "tatoeba", "model": "model", "base": False, "preset": "x"}, "tatoeba has no preset 'x'.*jiant"),
        ({"rows": '{"id": "1", "text_a": "a", "text_b": "b"}'}, "row 1: no label"),
        ({"rows": '{"id": "1", "text_a": "a", "text_b": "b", "label": "maybe"}'}, "label 'maybe'; allowed: "),
        ({"rows": "[1]"}, "row 1: a list; an example is a JSON object"),
        ({"rows": '{"id": 1, "text_a": "a", "text_b": "b", "label": "neutral"}'}, "row 1: id 1: ids are texts"),
        ({"rows": '{"id": "1"\n'}, r"data\.jsonl:1: not JSON"),
        ({"rows": '{"id": "1", "text_a": "", "text_b": "", "label": "neutral"}\n' * 2}, "row 2: id '1' is .* row 1"),
        ({"rows": ""}, "holds no examples"),
        (
            {"rows": '{"id": "\\ud800", "text_a": "a", "text_b": "b", "label": "neutral"}'},
            r"row 1: id \\ud800: not valid",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_named(folder, tmp_path, change, message):
    rows = change.get("rows", '{"id": "1", "text_a": "a", "text_b": "b", "label": "neutral"}')
    (tmp_path / "data.jsonl").write_text(rows, encoding="utf-8")
    given = {key: value for key, value in change.items() if key != "rows"}
    with pytest.raises(UserError, match=message):
        attacked(folder, tmp_path / "out", data=tmp_path / "data.jsonl", **{"language": "en", **given})
    assert not (tmp_path / "out").exists()


def test_degenerate_texts_are_outcomes_and_not_errors(folder, tmp_path):
    odd = ["", " ", "\ud800 water reports", "\x00\x08\u202e water reports", "water " * 3000, "\u0301\u200b"]
    labels = ("entailment", "neutral", "contradiction")
    rows = [
        {"id": f"{n}-{label}", "text_a": "a", "text_b": text, "label": label}
        for n, text in enumerate(odd)
        for label in labels
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for attack in ("badchars", "case", "punctuation"):
        found = attacked(folder, tmp_path / "a", data=tmp_path / "data.jsonl", language="en", attack=attack)
        assert len(found) == len(rows) and all(row["outcome"] in ("succeeded", "failed", "skipped") for row in found)
        reasons = {row["why"] for row in found if row["outcome"] == "skipped"}
        assert {"empty text", "not valid Unicode", "too long"} <= reasons


def test_progress_speaks_after_five_seconds_and_not_too_often():
    now = [0.0]
    stream = io.StringIO()
    progress = terminal.Progress(stream, lambda: now[0])
    for done in range(11, 100):
        now[0] += 1
        progress(done, 110, done * 7)
        if now[0] < 5:
            assert not stream.getvalue()
    progress.close()
    lines = stream.getvalue().splitlines()
    assert 5 <= len(lines) <= 10 and "of 110 examples" in lines[0] and "queries/s" in lines[0]
    assert lines[-1].endswith("s left") or lines[-1].endswith("min left")
    stream = io.StringIO()
    stream.isatty = lambda: True
    progress = terminal.Progress(stream, lambda: now[0])
    for done in range(1, 20):
        now[0] += 1
        progress(done, 40, done)
    progress.close()
    assert stream.getvalue().startswith("\r") and stream.getvalue().count("\n") == 1


def test_the_language_is_that_of_the_folder_also_where_its_file_is_a_link_into_the_store(folder, tmp_path):
    linked, stored = tmp_path / "xnli" / "en" / "test.jsonl", tmp_path / "store" / "0123.jsonl"
    for path in (linked, stored):
        path.parent.mkdir(parents=True)
    stored.write_bytes((folder / "xnli" / "en" / "test.jsonl").read_bytes())
    linked.symlink_to(stored)
    attack_file(folder / "mnli", folder / "model", "xnli", linked, "charswap", tmp_path / "a", examples=2, device="cpu")
    assert len(read_jsonl(tmp_path / "a")) == 2
