"""Encoders, heads, checkpoints and export, against transformers where it has the same thing."""

import json

import pytest
import torch

from xstilts.errors import UserError
from xstilts.models import checkpoints, export, fetch, loading, runtime
from xstilts.models.encoder import Encoder

TINY = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40}
LABELS = {"pair": ["a", "b", "c"], "tagging": ["X", "Y"], "span_qa": []}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A fetched tiny random model."""
    out = tmp_path_factory.mktemp("model") / "tiny"
    fetch.fetch({"model": "tiny", "source": {"type": "random"}, "identity": {}}, out)
    return out


def spec(stage="target"):
    return {"stage": stage, "model": {"name": "tiny"}, "seed": 1}


def trained(base, kind="pair"):
    """The tiny model with a head and a changed block, as after training."""
    model = loading.load(base)
    model.add_head("job", kind, len(LABELS[kind]), 7, {"kind": kind, "labels": LABELS[kind], "options": {}})
    with torch.no_grad():
        model.encoder.encoder["layer"][1].output["dense"].weight.add_(0.5)
    return model


def example(vocab=50, pad=1):
    ids = torch.randint(4, vocab, (3, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[1, 6:], mask[2, 2:] = 0, 0
    return ids.masked_fill(mask == 0, pad), mask


@pytest.mark.parametrize("model_type", ["xlm-roberta", "bert"])
def test_encoder_equals_transformers(model_type):
    from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

    Config, Model, pad = (BertConfig, BertModel, 0) if model_type == "bert" else (XLMRobertaConfig, XLMRobertaModel, 1)
    config = Config(**TINY, max_position_embeddings=40, type_vocab_size=2, layer_norm_eps=1e-5, pad_token_id=pad)
    torch.manual_seed(0)
    theirs = Model(config, add_pooling_layer=False).eval()
    for parameter in theirs.parameters():  # zero biases and unit norms would hide a mix-up
        torch.nn.init.normal_(parameter, 0.2, 0.3)
    ours = Encoder({**TINY, **config.to_dict()}).eval()
    ours.load_state_dict(theirs.state_dict())
    ids, mask = example(pad=pad)
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask, output_hidden_states=True).hidden_states
        states = ours(ids, mask)
    assert len(states) == 4
    for got, want in zip(states, expected, strict=True):
        torch.testing.assert_close(got[mask == 1], want[mask == 1], atol=1e-5, rtol=1e-5)


def test_float16_word_embeddings_give_the_same_states_as_float32(base):
    lean, full = loading.load(base), loading.load(base)
    assert lean.encoder.embeddings.word_embeddings.weight.dtype == torch.float16
    full.encoder.float()
    ids, mask = example(5000)
    for a, b in zip(lean.hidden_states(ids, mask), full.hidden_states(ids, mask), strict=True):
        assert torch.equal(a, b)


def test_too_long_an_input_names_the_setting(base):
    ids = torch.full((1, 513), 5)
    with pytest.raises(UserError, match=r"513 tokens, the model takes 512.*max_length"):
        loading.load(base).hidden_states(ids, torch.ones_like(ids))


def test_head_weights_depend_on_seed_and_task_only(base):
    def head(task, seed, noise):
        torch.manual_seed(noise)
        model = loading.load(base)
        model.add_head(task, "pair", 3, seed)
        return model.heads[task].dense.weight

    assert torch.equal(head("mnli", 1, 0), head("mnli", 1, 99))
    assert not torch.equal(head("mnli", 1, 0), head("mnli", 2, 0))
    assert not torch.equal(head("mnli", 1, 0), head("pawsx", 1, 0))


def test_a_checkpoint_holds_what_changed_and_its_heads(base, tmp_path):
    model = trained(base)
    checkpoints.save(tmp_path / "c", model, base, spec(), keep_heads=True)
    names = set(checkpoints.read_tensors(tmp_path / "c/model.safetensors"))
    heads = {f"heads.job.{layer}.{kind}" for layer in ("dense", "out_proj") for kind in ("weight", "bias")}
    assert names == {"encoder.layer.1.output.dense.weight", *heads}
    again = loading.load(base, tmp_path / "c")
    ids, mask = example(5000)
    batch = {"input_ids": ids, "attention_mask": mask}
    assert torch.equal(again.logits("job", batch), model.eval().logits("job", batch))
    with pytest.raises(UserError, match="no head for 'squad'; it has: job"):
        again.logits("squad", batch)


def test_checkpoints_are_equal_to_the_byte_and_intermediate_ones_keep_no_head(base, tmp_path):
    for name in ("a", "b"):
        checkpoints.save(tmp_path / name, trained(base), base, spec("intermediate"), keep_heads=False)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert set(checkpoints.read_tensors(tmp_path / "a/model.safetensors")) == {"encoder.layer.1.output.dense.weight"}


def test_frozen_tensors_of_an_earlier_checkpoint_are_kept(base, tmp_path):
    first = trained(base)
    with torch.no_grad():
        first.encoder.embeddings.position_embeddings.weight.mul_(2)
    checkpoints.save(tmp_path / "a", first, base, spec("intermediate"), keep_heads=False)
    second = loading.load(base, tmp_path / "a")
    second.encoder.embeddings.requires_grad_(False)
    checkpoints.save(tmp_path / "b", second, base, spec(), keep_heads=False)
    assert (tmp_path / "b/model.safetensors").read_bytes() == (tmp_path / "a/model.safetensors").read_bytes()


def test_a_checkpoint_of_another_parent_is_refused(base, tmp_path):
    checkpoints.save(tmp_path / "c", trained(base), base, spec(), keep_heads=True)
    other = {"model": "tiny", "source": {"type": "random", "seed": 5}, "identity": {}}
    fetch.fetch(other, tmp_path / "other")
    with pytest.raises(UserError, match="was trained from tiny with sha256"):
        loading.load(tmp_path / "other", tmp_path / "c")


def test_weights_that_do_not_fit_the_config_are_refused(base, tmp_path):
    tensors = checkpoints.read_tensors(base / "model.safetensors")
    tensors.pop("embeddings.LayerNorm.bias")
    checkpoints.write_tensors(tmp_path / "model.safetensors", {**tensors, "extra": torch.zeros(1)})
    (tmp_path / "config.json").write_bytes((base / "config.json").read_bytes())
    with pytest.raises(UserError, match=r"1 tensors missing.*LayerNorm.bias.*1 not known.*extra"):
        loading.load(tmp_path)


@pytest.mark.parametrize("kind", ["pair", "tagging", "span_qa"])
@pytest.mark.parametrize("model_type", ["xlm-roberta", "bert", "xlm-roberta-xl"])
def test_an_export_loads_in_transformers_with_equal_logits(tmp_path, kind, model_type):
    import transformers

    source = {"type": "random", "config": {"model_type": model_type, "initializer_range": 0.3}}
    fetch.fetch({"model": "tiny", "source": source, "identity": {}}, tmp_path / "base")
    model = trained(tmp_path / "base", kind)
    checkpoints.save(tmp_path / "c", model, tmp_path / "base", spec(), keep_heads=True)
    export.export(tmp_path / "c", tmp_path / "base", tmp_path / "hf")
    names = {"pair": "SequenceClassification", "tagging": "TokenClassification", "span_qa": "QuestionAnswering"}
    theirs = getattr(transformers, f"AutoModelFor{names[kind]}").from_pretrained(tmp_path / "hf").eval()
    ids, mask = example(5000)
    with torch.no_grad():
        output = theirs(ids, attention_mask=mask)
        got = model.eval().logits("job", {"input_ids": ids, "attention_mask": mask})
    want = torch.stack([output.start_logits, output.end_logits], -1) if kind == "span_qa" else output.logits
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    if kind == "pair":
        assert theirs.config.id2label == {0: "a", 1: "b", 2: "c"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert tokenizer("so gut").input_ids == model.tokenizer.encode("so gut").ids
    assert tokenizer.pad_token_id == 1


def test_an_intermediate_checkpoint_exports_to_the_plain_encoder(base, tmp_path):
    from transformers import AutoModel

    checkpoints.save(tmp_path / "c", trained(base), base, spec("intermediate"), keep_heads=False)
    export.export(tmp_path / "c", base, tmp_path / "hf")
    theirs = AutoModel.from_pretrained(tmp_path / "hf").eval()
    ids, mask = example(5000)
    with torch.no_grad():
        want = theirs(ids, attention_mask=mask).last_hidden_state
        got = loading.load(base, tmp_path / "c").hidden_states(ids, mask)[-1]
    torch.testing.assert_close(got[mask == 1], want[mask == 1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model_type", ["xlm-roberta-xl", "modernbert"])  # our own code, transformers'
def test_other_architectures_load_train_and_save(base, tmp_path, model_type):
    from transformers import AutoConfig, AutoModel

    small = {**TINY, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
    config = AutoConfig.for_model(model_type, **small, max_position_embeddings=40)
    AutoModel.from_config(config).save_pretrained(tmp_path / "hf")
    (tmp_path / "hf/tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    source = {"type": "local", "folder": str(tmp_path / "hf")}
    fetch.fetch({"model": "other", "source": source, "identity": {}}, tmp_path / "m")
    model = loading.load(tmp_path / "m")
    ids, mask = example()
    states = model.hidden_states(ids, mask)
    theirs = AutoModel.from_pretrained(tmp_path / "hf").eval()
    with torch.no_grad():
        want = theirs(ids, attention_mask=mask).last_hidden_state
    assert len(states) == 4
    torch.testing.assert_close(states[-1][mask == 1], want[mask == 1], atol=1e-5, rtol=1e-5)
    model.encoder.embeddings.requires_grad_(False)  # what `trainable: blocks` does
    model.add_head("job", "pair", 3, 1, {"kind": "pair", "labels": ["a", "b", "c"], "options": {}})
    checkpoints.save(tmp_path / "c", model, tmp_path / "m", spec(), keep_heads=True)
    assert all(name.startswith("heads.") for name in checkpoints.read_tensors(tmp_path / "c/model.safetensors"))
    loading.load(tmp_path / "m", tmp_path / "c")


def test_wrong_device_and_precision_are_named():
    with pytest.raises(UserError, match="precision: 'fp8', allowed: bf16, fp32"):
        runtime.autocast("cpu", "fp8")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="sees no CUDA device"):
            runtime.device("cuda")


def test_model_json_counts_parameters(base):
    record = json.loads((base / "model.json").read_text())
    config = json.loads((base / "config.json").read_text())
    width = config["hidden_size"]
    assert record["parameters"] - record["non_embedding_parameters"] == config["vocab_size"] * width
    block = 4 * width * width + 2 * width * config["intermediate_size"] + 9 * width + config["intermediate_size"]
    assert record["non_embedding_parameters"] == 2 * block + (514 + 1 + 2) * width
