"""The paper's variants: masked text, training data in many languages, fixed shares in a mixture, early stopping."""

import copy
import json
import math
import random
import shutil
from collections import Counter

import pytest
import torch
import yaml

from xstilts import embedded
from xstilts import study as studies
from xstilts.data.kinds import mlm
from xstilts.errors import UserError
from xstilts.files import write_jsonl
from xstilts.identity import ROOT
from xstilts.models import checkpoints, fetch, loading
from xstilts.outputs import Outputs
from xstilts.specs import Specs
from xstilts.training import batching, dev, loop, mixtures, tasks
from xstilts.training.settings import Settings

LANGUAGES = ["en", "de", "zh"]
LABELS = ["entailment", "neutral", "contradiction"]
HYPER = {"learning_rate": 5e-3, "batch_size": 8, "max_steps": 10, "max_length": 48, "warmup": 0.1, "weight_decay": 0.01}
HYPER |= {"adam_epsilon": 1e-8, "max_grad_norm": 1.0, "schedule": "linear", "selection": "last", "dropout": 0.0}
TASKS = {
    "mlm": {"kind": "mlm", "labels": [], "options": {}, "languages": LANGUAGES},
    "mnli": {"kind": "pair", "labels": LABELS, "options": {}},  # languages: English where a spec names none
    "mnli_translated": {"kind": "pair", "labels": LABELS, "options": {}, "languages": LANGUAGES},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "tiny"
    fetch.fetch({"model": "tiny", "source": {"type": "random"}, "identity": {}}, out)
    return out


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    root = tmp_path_factory.mktemp("examples")
    for code in LANGUAGES:
        write_jsonl(root / f"mlm/{code}/train.jsonl", embedded.generate("text", code, "train", 30, 1))
        rows = embedded.generate("mnli_translated", code, "train", 21, 1)
        write_jsonl(root / f"mnli_translated/{code}/train.jsonl", rows)
    for name in ("mnli", "mnli_translated"):
        write_jsonl(root / f"{name}/en/dev.jsonl", embedded.generate("mnli", "en", "dev", 12, 1))
    shutil.copy(root / "mnli_translated/en/train.jsonl", root / "mnli/en/train.jsonl")
    return root


def task(name: str, **hyper) -> dict:
    return {"task": name, **TASKS[name], "hyper": {**HYPER, "mask_probability": 0.15, **hyper}}


def spec(*entries: dict, **changes) -> dict:
    result = {"stage": "intermediate", "code": "train@1", "model": {"name": "tiny"}, "intermediate": "mix", "seed": 1}
    return {**result, "precision": "fp32", "trainable": "all", "tasks": list(entries), **changes}


def record(out) -> dict:
    return json.loads((out / "train.json").read_text())


# ---- masks
@pytest.fixture(scope="module")
def texts(base):
    """(tokenizer facts, features of 60 texts)."""
    tokenizer = loading.load(base).tokenizer
    rows = embedded.generate("text", "en", "train", 60, 2)
    return mlm.vocabulary(tokenizer), mlm.encode(rows, tokenizer, [], {"max_length": 64}, {}, True)


def within(found: int, number: int, probability: float) -> bool:
    """Five standard deviations of a binomial: 1 in 2 million by chance, and the draws are fixed."""
    return abs(found - number * probability) <= 5 * math.sqrt(number * probability * (1 - probability))


def test_masks_follow_bert_and_never_touch_special_tokens(texts):
    facts, features = texts
    counts = Counter()
    for draw in range(40):
        for before, after in zip(
            features, mlm.corrupt(features, f"k{draw}", facts, {"mask_probability": 0.15}), strict=True
        ):
            ids = list(before["input_ids"])
            counts["pieces"] += len(ids) - 2
            counts["chosen"] += len(after["masked"])
            assert after["masked"] and after["labels"] == [ids[at] for at in after["masked"]]
            for at, (old, new) in enumerate(zip(ids, after["input_ids"], strict=True)):
                if at not in after["masked"]:
                    assert old == new
                    continue
                assert old not in facts.special
                counts["mask" if new == facts.mask else "same" if new == old else "other"] += 1
                assert new == facts.mask or new not in facts.special
    # texts have 15 to 62 pieces: that each has one chosen piece at least adds less than the bound
    assert within(counts["chosen"], counts["pieces"], 0.15)
    assert within(counts["mask"], counts["chosen"], 0.8)
    assert within(counts["other"], counts["chosen"], 0.1)
    assert within(counts["same"], counts["chosen"], 0.1)


def test_a_key_decides_the_masks_and_another_step_has_others(texts):
    facts, features = texts
    hyper = {"mask_probability": 0.15}
    first = mlm.corrupt(features, "1/mlm/7", facts, hyper)
    assert first == mlm.corrupt(features, "1/mlm/7", facts, hyper)
    assert first != mlm.corrupt(features, "1/mlm/8", facts, hyper)
    rare = mlm.corrupt(features, "1/mlm/7", facts, {"mask_probability": 1e-9})
    assert all(len(feature["masked"]) == 1 for feature in rare), "a text without a mask would have no loss"


def test_texts_with_nothing_to_predict_are_left_out(base):
    rows = [{"id": str(i), "text": text} for i, text in enumerate(["cat", "\u2003", "tree"])]
    encoded = mlm.encode(rows, loading.load(base).tokenizer, [], {"max_length": 64}, {}, True)
    assert [feature["example"] for feature in encoded] == [0, 2]


def test_a_vocabulary_without_a_mask_is_refused():
    from tokenizers import Tokenizer, models

    plain = Tokenizer(models.BPE({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4}, [], unk_token="<unk>"))
    with pytest.raises(UserError, match="no token <mask>, which kind mlm needs"):
        mlm.vocabulary(plain)


# ---- the head and its loss
def masked_batch(model, examples, number=16):
    one = tasks.read(task("mlm"), model, examples)
    model.add_head("mlm", "mlm", 0, 1)
    return one, one.inputs(range(number), "key")


def test_the_loss_equals_a_plain_reference(base, examples):
    model = loading.load(base)
    one, features = masked_batch(model, examples, 5)
    for parameter in model.heads.parameters():  # anything but the first weights, of which many are 0 or 1
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(4))
    batch = one.kind.collate(features, model.pad_id)
    found = one.kind.loss(model.logits("mlm", batch), batch)
    head, words = model.heads["mlm"], model.word_embeddings.float()
    losses = []
    for row, feature in enumerate(features):
        ids = torch.tensor([feature["input_ids"]])
        states = model.hidden_states(ids, torch.ones_like(ids))[-1][0]
        for at, piece in zip(feature["masked"], feature["labels"], strict=True):
            inner = head.dense.weight @ states[at] + head.dense.bias
            inner = 0.5 * inner * (1 + torch.erf(inner / math.sqrt(2)))
            normal = (inner - inner.mean()) / torch.sqrt(inner.var(unbiased=False) + 1e-5)
            scores = words @ (normal * head.layer_norm.weight + head.layer_norm.bias) + head.bias
            losses.append(torch.logsumexp(scores, 0) - scores[piece])
        assert row < 5
    assert found.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-4)
    assert len(losses) == len(batch["masked"]) == sum(map(batching.terms, features))


def test_the_first_loss_is_that_of_knowing_nothing(base, examples):
    model = loading.load(base)
    one, features = masked_batch(model, examples, 60)
    batch = one.kind.collate(features, model.pad_id)
    with torch.no_grad():
        first = one.kind.loss(model.logits("mlm", batch), batch).item()
    assert abs(first - math.log(len(model.word_embeddings))) < 1.0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_split_batch_has_the_gradient_of_the_whole_and_reaches_the_tied_embeddings(base, examples, precision):
    model = loading.load(base)
    model.encoder.float()
    one, features = masked_batch(model, examples)

    def gradients(tokens):
        model.zero_grad()
        parts = batching.shares(features, tokens)[0]
        assert sum(weight for _, weight in parts) == pytest.approx(1.0)
        for part, weight in parts:
            batch = one.kind.collate(part, model.pad_id)
            with loop.runtime.autocast("cpu", precision):
                logits = model.logits("mlm", batch)
            (one.kind.loss(logits.float(), batch) * weight).backward()
        return len(parts), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    whole, split = gradients(10**6), gradients(150)
    assert whole[0] == 1 and split[0] >= 3
    tolerance = 1e-5 if precision == "fp32" else 2e-2
    for name, value in whole[1].items():
        torch.testing.assert_close(
            split[1][name], value, atol=max(1e-7, tolerance * value.abs().max().item()), rtol=tolerance
        )
    # a piece that no input holds gets its gradient from the decoder alone
    seen = {piece for feature in features for piece in feature["input_ids"]}
    unseen = next(piece for piece in range(len(model.word_embeddings)) if piece not in seen)
    assert whole[1]["encoder.embeddings.word_embeddings.weight"][unseen].abs().sum() > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_frozen_float16_embeddings_stay_as_they_are(base, examples, tmp_path, precision, monkeypatch):
    keys, corrupt = [], mlm.corrupt
    monkeypatch.setattr(mlm, "corrupt", lambda features, key, *rest: keys.append(key) or corrupt(features, key, *rest))
    job = spec(task("mlm", max_steps=3), trainable="blocks", precision=precision, intermediate="mlm")
    loop.train(job, base, None, examples, tmp_path, "cpu")
    assert keys == ["1/mlm/0", "1/mlm/1", "1/mlm/2"], "seed, task and step, so that no two steps have equal masks"
    saved = checkpoints.read_tensors(tmp_path / "model.safetensors")
    assert saved and not any(name.startswith(("embeddings.", "heads.")) for name in saved)
    loading.load(base, tmp_path)
    assert record(tmp_path)["dev"] == {} and record(tmp_path)["failed"] is False
    assert record(tmp_path)["selection"] == "last" and record(tmp_path)["selected_step"] == 3


def test_masked_text_is_learnt(base, examples, tmp_path):
    job = spec(
        task("mlm", max_steps=15, learning_rate=2e-2, eval_every=5, selection="english_dev_best"), intermediate="mlm"
    )
    loop.train(job, base, None, examples, tmp_path, "cpu")
    losses = record(tmp_path)["losses"]
    assert losses[-1] < losses[0] - 2.0
    assert record(tmp_path)["selected_step"] == 15, "masked text is never looked at on dev"
    saved = checkpoints.read_tensors(tmp_path / "model.safetensors")
    assert "embeddings.word_embeddings.weight" in saved, "tied embeddings are trained too"


# ---- mixtures
def test_a_share_is_the_probability_of_a_task_whatever_its_size():
    sizes = {"mnli": 3000, "mlm": 10, "qqp": 1000}
    found = mixtures.shared(sizes, {"method": "proportional", "shares": {"mlm": 0.2}})
    assert found == pytest.approx({"mnli": 0.6, "mlm": 0.2, "qqp": 0.2})
    plan = Counter(mixtures.plan(sizes, {"method": "proportional", "shares": {"mlm": 0.3}}, 5000, seed=1))
    assert within(plan[1], 5000, 0.3) and within(plan[0], 5000, 0.7 * 0.75)
    assert mixtures.all_steps({"mnli": 60, "mlm": 10**6, "qqp": 20}, {"shares": {"mlm": 0.2}}) == 100
    assert mixtures.all_steps({"mnli": 60, "qqp": 20}, {}) == 80
    assert mixtures.all_steps({"mnli": 7, "qqp": 2, "squad": 1}, {"shares": {"mnli": 0.79, "qqp": 0.2}}) == 100


def test_a_mixture_with_masked_text_goes_on_to_the_same_bytes(base, examples, tmp_path, killed_at):
    job = spec(
        task("mnli"), task("mlm"), trainable="blocks", steps=6, sampling={"method": "uniform", "shares": {"mlm": 0.5}}
    )
    loop.train(job, base, None, examples, tmp_path / "whole", "cpu")
    with killed_at(4):
        loop.train(job, base, None, examples, tmp_path / "cut", "cpu", work=tmp_path / "work")
    random.seed(5)
    torch.manual_seed(99)
    loop.train(job, base, None, examples, tmp_path / "cut", "cpu", work=tmp_path / "work")
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()
    assert record(tmp_path / "whole")["losses"] == record(tmp_path / "cut")["losses"]
    assert set(record(tmp_path / "cut")["dev"]) == {"mnli"}, "masked text has no dev score"
    assert 0 < record(tmp_path / "cut")["epochs"]["mlm"] < 1


def test_a_translated_task_trains_on_all_its_languages_and_looks_at_english(base, examples, tmp_path):
    model = loading.load(base)
    one, english = tasks.read(task("mnli_translated"), model, examples), tasks.read(task("mnli"), model, examples)
    assert one.examples == 3 * english.examples == 63
    assert [list(f["input_ids"]) for f in one.features[:21]] == [list(f["input_ids"]) for f in english.features]
    chinese = model.tokenizer.token_to_id("的"), model.tokenizer.token_to_id("那")
    assert any(set(chinese) & set(feature["input_ids"]) for feature in one.features[42:])
    assert len({f["label"] for f in one.features}) == 3 and one.dev == english.dev
    assert not tasks.read({**task("mnli_translated"), "languages": ["de"]}, model, examples).dev
    # the state of a killed run belongs to the data of every language
    job = spec(task("mnli_translated"))
    place = loop._state_folder(tmp_path, job, base, None, examples, Settings())
    changed = tmp_path / "examples"
    shutil.copytree(examples, changed)
    write_jsonl(changed / "mnli_translated/zh/train.jsonl", embedded.generate("mnli_translated", "zh", "train", 9, 1))
    assert loop._state_folder(tmp_path, job, base, None, changed, Settings()) != place


# ---- early stopping
def scripted(monkeypatch, values):
    """Dev scores in order, and how many examples each look had."""
    values, sizes = iter(values), []

    def evaluate(model, one, rows, precision, features=None):
        sizes.append(len(rows))
        return {"metric": "accuracy", "value": next(values), "majority": 30.0, "n": len(rows)}

    monkeypatch.setattr(dev, "evaluate", evaluate)
    return sizes


def test_training_stops_after_looks_without_gain_at_the_first_examples(base, examples, tmp_path, monkeypatch):
    sizes = scripted(monkeypatch, [50.0, 60.0, 60.0, 55.0, 70.0])
    hyper = {"max_steps": 30, "selection": "english_dev_best", "eval_every": 2, "patience": 2, "eval_examples": 5}
    job = spec(task("mnli", **hyper), intermediate="mnli", trainable="blocks")
    loop.train(job, base, None, examples, tmp_path, "cpu")
    found = record(tmp_path)
    assert sizes == [5, 5, 5, 5]
    assert found["stopped"] == {"step": 8, "patience": 2} and found["selected_step"] == 4
    assert found["dev"]["mnli"]["value"] == 60.0 and found["steps"] == 30
    assert found["examples"] <= 8 * 8 and found["epochs"]["mnli"] == pytest.approx(8 * 8 / 21, abs=0.01)


def test_patience_is_the_same_after_a_kill_and_null_waits_for_ever(base, examples, tmp_path, monkeypatch, killed_at):
    values = [50.0, 60.0, 60.0, 55.0, 70.0, 71.0, 72.0]
    hyper = {"max_steps": 10, "selection": "english_dev_best", "eval_every": 2, "patience": 2}
    job = spec(task("mnli", **hyper), intermediate="mnli", trainable="blocks")
    scripted(monkeypatch, values)
    loop.train(job, base, None, examples, tmp_path / "whole", "cpu")
    scripted(monkeypatch, values)
    with killed_at(7):  # one look without gain is behind
        loop.train(job, base, None, examples, tmp_path / "cut", "cpu", work=tmp_path / "work")
    scripted(monkeypatch, values[3:])
    loop.train(job, base, None, examples, tmp_path / "cut", "cpu", work=tmp_path / "work")
    whole, cut = record(tmp_path / "whole"), record(tmp_path / "cut")
    assert whole["stopped"] == cut["stopped"] == {"step": 8, "patience": 2}
    assert (tmp_path / "whole/model.safetensors").read_bytes() == (tmp_path / "cut/model.safetensors").read_bytes()
    scripted(monkeypatch, values)
    job["tasks"][0]["hyper"]["patience"] = None
    loop.train(job, base, None, examples, tmp_path / "long", "cpu")
    assert record(tmp_path / "long")["stopped"] is None and record(tmp_path / "long")["selected_step"] == 10


# ---- embedded text
@pytest.mark.parametrize("code", ["ru", "de"])
def test_training_data_of_variants_holds_no_sentence_of_a_test_set(code):
    from xstilts.embedded.parse import sentences

    xnli = embedded.generate("xnli", code, "test", 400, 1)
    test = {row["text_b"] for row in xnli}
    for name in ("tatoeba", "bucc2018"):
        test |= {row["text"] for row in embedded.generate(name, code, "test", 200, 1) if row["side"] == "source"}
    rows = embedded.generate("text", code, "train", 400, 3)
    texts = {text for row in rows for _, text in sentences(code, row["text"])}
    assert len(texts) > 700 and not texts & (test | {row["text_a"] for row in xnli})
    translated = embedded.generate("mnli_translated", code, "train", 400, 1)
    for field in ("text_a", "text_b"):
        assert not {row[field] for row in translated} & {row[field] for row in xnli}


def test_embedded_translations_are_the_items_of_mnli_in_every_language():
    english = embedded.generate("mnli", "en", "train", 40, 1)
    assert embedded.generate("mnli_translated", "en", "train", 40, 1) == english
    swahili = embedded.generate("mnli_translated", "sw", "train", 40, 1)
    assert [(row["id"], row["label"]) for row in swahili] == [(row["id"], row["label"]) for row in english]
    assert not {row["text_a"] for row in swahili} & {row["text_a"] for row in english}


# ---- studies
def config(**changes) -> dict:
    """studies/tiny.yaml with a mixture of all variants."""
    value = copy.deepcopy(yaml.safe_load((ROOT / "studies/tiny.yaml").read_text()))
    value["mixtures"] = {"mix": {"tasks": ["mnli", "mlm", "mnli_translated"], "shares": {"mlm": 0.3}}}
    value["grid"] = [{"models": ["tiny"], "intermediates": ["none", "mix", "mlm"], "targets": ["xnli"], "seeds": [1]}]
    value["attacks"], value["training"]["overrides"] = [], {}
    return {**value, **changes}


def test_a_variants_preparation_and_training_know_its_languages():
    study = studies.load(config(target_languages={"mlm": ["de", "sw"]}), "tiny.yaml")
    jobs, files = Specs(study), Outputs(study)
    assert study.trained_tasks() == ["mnli", "mlm", "mnli_translated"]
    spec = jobs.prepare_train("mnli_translated")
    assert spec["languages"] == ["de", "en"] and spec["split_languages"] == {"dev": ["en"]}
    assert set(files.prepared_train("mnli_translated")) == {"train_de", "train_en", "dev_en"}
    assert jobs.prepare_train("mlm")["splits"] == {"train": 200} and set(jobs.prepare_train("mlm")["lexicons"]) == {
        "de",
        "en",
        "sw",
    }
    assert set(files.prepared_train("mlm")) == {"train_de", "train_sw"}
    assert "split_languages" not in jobs.prepare_train("mnli") and jobs.prepare_train("mnli")["languages"] == ["en"]
    entries = {one["task"]: one for one in jobs.intermediate("tiny", "mix", 1)["tasks"]}
    assert {name: one["languages"] for name, one in entries.items()} == {
        "mnli": ["en"],
        "mlm": ["de", "sw"],
        "mnli_translated": ["de", "en"],
    }
    assert jobs.intermediate("tiny", "mix", 1)["sampling"] == {"method": "proportional", "shares": {"mlm": 0.3}}
    assert jobs.intermediate("tiny", "mlm", 1)["tasks"][0]["hyper"]["mask_probability"] == 0.15
    assert any("mixing rates are not confirmed" in notice for notice in study.notices)


def test_all_means_the_nine_and_variants_are_named_beside_it():
    study = studies.load(
        config(mixtures={"mix": {"tasks": ["all", "mlm"], "sampling": "capped", "cap": 50}}), "tiny.yaml"
    )
    assert len(study.intermediate_tasks("mix")) == 10 and "mnli_translated" not in study.intermediate_tasks("mix")
    assert any("cap 50: this study's choice; the paper's K, T" in notice for notice in study.notices)


FOUR = ["squad", "mlm", "qqp", "mnli"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": ["mnli", "mlm"], "shares": {"qqp": 0.2}}, ["mixtures.mix.shares", "qqp", "mnli, mlm"]),
        ({"tasks": ["mnli", "mlm"], "shares": {"mlm": 1}}, ["mixtures.mix.shares.mlm", "1"]),
        ({"tasks": ["mnli", "mlm"], "shares": {"mlm": 0}}, ["mixtures.mix.shares.mlm", "0"]),
        ({"tasks": ["mnli", "qqp", "mlm"], "shares": {"mlm": 0.6, "qqp": 0.4}}, ["shares", "at most 0.99"]),
        # 0.7 + 0.2 + 0.1 is 0.9999999999999999 in doubles: 9e16 steps for the fourth task
        ({"tasks": FOUR, "shares": {"mlm": 0.7, "qqp": 0.2, "mnli": 0.1}}, ["mixtures.mix.shares", "at most 0.99"]),
        ({"tasks": FOUR, "shares": {"mlm": 0.995}}, ["mixtures.mix.shares", "at most 0.99"]),
        ({"tasks": FOUR, "shares": {"mlm": math.nan}}, ["mixtures.mix.shares.mlm: nan", "a finite number"]),
        ({"sampling": "temperature", "temperature": math.inf}, ["mixtures.mix.temperature: inf", "a finite number"]),
        ({"tasks": []}, ["mixtures.mix.tasks: []", "Intermediate tasks and variants"]),
        ({"cap": 50}, ["mixtures.mix.cap: 50", "capped and temperature"]),
        ({"sampling": "uniform", "cap": 50}, ["mixtures.mix.cap: 50", "capped and temperature"]),
        ({"sampling": "capped", "cap": 50, "temperature": 2}, ["mixtures.mix.temperature: 2", "sampling temperature"]),
        ({"tasks": ["mlm"], "shares": {"mlm": 0.4}}, ["shares", "at least one task of the mixture without a share"]),
        ({"tasks": ["mnli", "xnli"]}, ["mixtures.mix.tasks", "xnli", "mnli_translated"]),
        ({"tasks": ["mnli", "mlm"], "sampling": "temperature"}, ["mixtures.mix.temperature", "needs it"]),
    ],
)
def test_a_wrong_mixture_is_named(change, words):
    with pytest.raises(UserError) as caught:
        studies.load(config(mixtures={"mix": change}), "tiny.yaml")
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target_languages": {"mlm": ["fr"]}}, ["target_languages.mlm (source embedded of mlm)", "fr", "de"]),
        ({"target_languages": {"mnli_translated": ["ko"]}}, ["target_languages.mnli_translated", "ko", "Allowed: ar"]),
        ({"target_languages": {"mlm": []}}, ["tiny.yaml: target_languages.mlm: [] is not allowed", "Allowed: af, ar"]),
        ({"languages": ["ko"]}, ["tiny.yaml: languages: ['ko'] is not allowed", "(xnli)"]),
        ({"training": {"preset": "demo", "overrides": {"tatoeba": {"layer": "last"}}}}, ["overrides", "tatoeba"]),
    ],
)
def test_a_variant_needs_languages_that_it_and_its_source_have(change, words):
    with pytest.raises(UserError) as caught:
        studies.load(config(**change), "tiny.yaml")
    assert all(word in str(caught.value) for word in words), str(caught.value)


# ---- mixtures of what cannot be had here
def mixed(root, mixture: dict, others: dict | None = None, **changes):
    """A study of `mix` on local data, of which `root` has mnli, qqp, mlm and xnli alone, and no CCG."""
    for name in ("mnli", "qqp", "mlm", "xnli"):
        (root / name).mkdir(exist_ok=True)
    mixtures = {"mix": mixture, **(others or {})}
    return studies.load(
        config(sources=["local", "licensed"], data_root=str(root), languages=["en"], mixtures=mixtures, **changes),
        "tiny.yaml",
    )


def test_a_mixture_without_any_task_that_can_be_used_is_left_out_and_said(tmp_path):
    attacks = [{"attacks": ["charswap"], "intermediates": ["none", "mix"], "examples": 2}]
    study = mixed(tmp_path, {"tasks": ["ccg"]}, attacks=attacks)
    assert study.intermediates == ["none", "mlm"] and not study.mixtures
    assert "mixture mix is left out: none of its tasks can be used." in study.notices
    assert any("ccg.yaml: sources" in notice for notice in study.notices), "and why"
    assert {cell[2] for cell in study.attack_cells} == {"none"}


def test_a_mixture_never_takes_the_name_of_another(tmp_path):
    lost = {"tasks": ["mnli", "ccg"]}
    assert mixed(tmp_path, lost).mixtures["mix-no-ccg"].tasks == ("mnli",)
    with pytest.raises(UserError, match=r"mixtures.mix: without ccg, .*named mix-no-ccg, and that name is taken. Next"):
        mixed(tmp_path, lost, {"mix-no-ccg": {"tasks": ["mnli", "qqp"]}})


def test_shares_and_notices_are_those_of_the_tasks_that_are_there(tmp_path):
    with pytest.raises(UserError, match=r"mixtures.mix.shares: .*without a share.*no source of ccg can"):
        mixed(tmp_path, {"tasks": ["mlm", "ccg"], "shares": {"mlm": 0.2}})
    three = {"tasks": ["mnli", "mlm", "ccg"], "shares": {"mlm": 0.2, "ccg": 0.3}}
    study = mixed(tmp_path, three, {"idle": {"tasks": ["ccg"]}, "capped": {"sampling": "capped", "cap": 5}})
    assert study.mixtures["mix-no-ccg"].sampling == {"method": "proportional", "shares": {"mlm": 0.2}}
    own = [notice for notice in study.notices if "this study's choice" in notice]
    assert len(own) == 1 and own[0].startswith("mixture mix-no-ccg: share of mlm 0.2: ")
    assert not [notice for notice in study.notices if "idle" in notice or "capped" in notice], "no cell has these"
    assert list(study.mixtures) == ["mix-no-ccg"]


# ---- a mixture is one training
LOOK = {"selection": "english_dev_best", "eval_every": 2}


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ({"qqp": {"dropout": 0.3}}, "dropout: mlm 0.0, mnli 0.0, qqp 0.3"),
        ({"mlm": {"dropout": 0.3}}, "dropout: mlm 0.3, mnli 0.0, qqp 0.0"),
        ({"qqp": LOOK}, "selection: mnli last, qqp english_dev_best"),
        ({"mnli": LOOK, "qqp": {**LOOK, "eval_every": 3}}, "eval_every: mnli 2, qqp 3"),
        ({"mnli": {**LOOK, "patience": 4}, "qqp": LOOK}, "patience: mnli 4, qqp None"),
        ({"mnli": LOOK, "qqp": LOOK}, None),
        ({"mlm": LOOK}, None),  # has no dev data to look at
        ({"mnli": {"eval_every": 5}}, None),  # nothing is looked at
        ({"mnli": {"learning_rate": 1.0e-3, "batch_size": 4}}, None),  # of each batch's own task
    ],
)
def test_tasks_of_a_mixture_agree_on_what_one_training_has_once(overrides, key):
    changes = {"mixtures": {"mix": {"tasks": ["mlm", "mnli", "qqp"]}}}
    changes["training"] = {"preset": "demo", "overrides": overrides}
    if key is None:
        assert "mix" in studies.load(config(**changes), "tiny.yaml").mixtures
        return
    with pytest.raises(UserError) as caught:
        studies.load(config(**changes), "tiny.yaml")
    expected = [f"tiny.yaml: mixtures.mix: its tasks disagree on {key}.", "Next: ", "training.overrides.<task>"]
    assert all(word in str(caught.value) for word in expected), str(caught.value)


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"overrides": {"mnli": {"lr": 1}}}, ["tiny.yaml: training.overrides.mnli: unknown key 'lr'", "Next: "]),
        ({"overrides": {"mnli": 3}}, ["tiny.yaml: training.overrides.mnli: 3 is not of type 'object'"]),
        ({"overrides": {"mnli": {"epochs": math.inf}}}, ["tiny.yaml: training.overrides.mnli.epochs: inf", "finite"]),
        ({"overrides": {"mnli": {"max_steps": 6.0}}}, ["training.overrides.mnli.max_steps: 6.0", "write 6)"]),
        ({"overrides": {"tatoeba": {"layer": 99.0}}}, ["training.overrides.tatoeba.layer: 99.0", "write 99)"]),
        ({"overrides": {"tatoeba": {"layer": 2.0}}}, ["training.overrides.tatoeba.layer: 2.0", "write 2)", "Next: "]),
        ({"overrides": {"tatoeba": {"layer": 9}}}, ["tiny.yaml: training.overrides.tatoeba.layer: 9", "Next: "]),
        ({"overrides": {"tatoeba": {"layer": "3/2"}}}, ["tiny.yaml: training.overrides.tatoeba.layer", "Next: "]),
        ({"preset": "demos"}, ["tiny.yaml: training.preset (of mnli): 'demos'", "Allowed: jiant, xtreme-2020, "]),
        (
            {"preset": "jiant-intermediate"},
            ["training.preset (of mnli)", "'jiant-intermediate' is not allowed", "Allowed: jiant, "],
        ),
    ],
)
def test_wrong_settings_are_named_by_the_key_that_holds_them(training, words):
    grid = [{"models": ["tiny"], "intermediates": ["mnli"], "targets": ["xnli", "tatoeba"], "seeds": [1]}]
    with pytest.raises(UserError) as caught:
        studies.load(config(grid=grid, training={"preset": "demo", **training}), "tiny.yaml")
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "-intermediate" not in message.partition("Allowed:")[2] and message.count("Next: ") <= 1


def test_retrieval_settings_may_be_overridden_where_retrieval_is_a_target():
    grid = [{"models": ["tiny"], "intermediates": ["none"], "targets": ["tatoeba"], "seeds": [1]}]
    training = {"preset": "demo", "overrides": {"tatoeba": {"layer": "last", "pooling": "max"}}}
    study = studies.load(config(grid=grid, training=training), "tiny.yaml")
    hyper = Specs(study).retrieval("tiny", "none", 1)["targets"]["tatoeba"]["hyper"]
    assert (hyper["layer"], hyper["pooling"]) == ("last", "max")
    training = {"preset": "demo", "overrides": {"tatoeba": {"layer": 9}}}
    with pytest.raises(UserError, match="tiny has 2 blocks"):
        studies.load(config(grid=grid, training=training), "tiny.yaml")


def test_the_graph_prepares_each_variant_in_its_languages_by_a_rule_of_its_own(tmp_path):
    from test_workflow import copy_project, planned

    root = copy_project(tmp_path / "project")
    (root / "studies/mixed.yaml").write_text(yaml.safe_dump(config()))
    jobs = planned(root, "--configfile", "studies/mixed.yaml")
    assert (jobs["prepare_train"], jobs["prepare_train_mlm"], jobs["prepare_train_mnli_translated"]) == (1, 1, 1)
    assert (jobs["train_intermediate"], jobs["train_target"]) == (2, 3)
