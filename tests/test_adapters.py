"""LoRA: what is trained, what is stored, and that the merged result is the model that was trained."""

import copy
import json
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file

from xstilts import study as studies
from xstilts.errors import UserError
from xstilts.files import read_json
from xstilts.identity import ROOT
from xstilts.models import checkpoints, fetch, loading
from xstilts.specs import Specs
from xstilts.training import adapters, optimisation

LORA = {"rank": 4, "alpha": 6, "dropout": 0.0}
HEAD = {"kind": "pair", "labels": ["yes", "no"], "options": {}}
SPEC = {"stage": "target", "model": {"name": "tiny"}, "intermediate": "none", "seed": 1, "trainable": "lora"}


def random_model(folder, **config):
    fetch.fetch({"model": "tiny", "source": {"type": "random", "config": config}, "identity": {}}, folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model") / "tiny")


def batch(seed: int = 0) -> dict:
    ids = torch.randint(5, 60, (6, 12), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 1), "attention_mask": mask}


def adapted(base, encoder=None, seed: int = 1, **settings) -> loading.TaskModel:
    model = loading.load(base, encoder)
    model.add_head("mnli", "pair", 2, seed, HEAD)
    adapters.add(model, {**LORA, **settings}, seed)
    return model


def train(model: loading.TaskModel, steps: int = 12) -> list[float]:
    optimiser, losses = optimisation.build(model, {}), []
    gold = torch.tensor([0, 1, 0, 1, 0, 1])
    for step in range(steps):
        loss = torch.nn.functional.cross_entropy(model.logits("mnli", batch()), gold)
        loss.backward()
        optimisation.configure(optimiser, {"learning_rate": 2e-2, "weight_decay": 0.01}, step, steps)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    return losses


def assert_same(loaded: loading.TaskModel, trained: loading.TaskModel) -> None:
    expected = trained.eval().logits("mnli", batch())
    torch.testing.assert_close(loaded.logits("mnli", batch()), expected, atol=1e-5, rtol=1e-4)


def save(model: loading.TaskModel, base, out, keep_heads: bool = True) -> None:
    checkpoints.save(out, model, base, SPEC, keep_heads, factors=adapters.factors(model))


def test_adapters_alone_are_trained_and_change_nothing_at_first(base):
    plain, model = loading.load(base), adapted(base)
    torch.testing.assert_close(model.hidden_states(**batch()), plain.hidden_states(**batch()), atol=0, rtol=0)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or name.startswith("heads.") for name in trained)
    blocks = plain.config["num_hidden_layers"]
    matrices = {name.split(".lora_")[0] for name in trained if "lora_" in name}
    assert len(matrices) == 6 * blocks and len(trained) == 12 * blocks + len(list(model.heads.parameters()))
    before = {checkpoints.plain(name): value.clone() for name, value in model.encoder.state_dict().items()}
    losses = train(model)
    assert losses[-1] < 0.5 * losses[0]
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(before[checkpoints.plain(name)], value) == ("lora_" not in name), name


def test_the_seed_decides_the_first_weights_whatever_was_drawn_before(base):
    def drawn(seed):
        torch.rand(seed)
        return {name: value for name, value in adapters.factors(adapted(base, seed=seed)).items() if "lora_a" in name}

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    values = list(first.values())
    assert not torch.equal(values[0], values[1]), "query and key draw their own"


def test_frozen_weights_of_another_format_leave_adapters_in_float32(base):
    model = loading.load(base)
    model.encoder.encoder.to(torch.bfloat16)
    adapters.add(model, LORA, 1)
    assert {p.dtype for name, p in model.named_parameters() if "lora_" in name} == {torch.float32}


def test_the_merged_model_equals_pefts_and_transformers(base):
    """The checkpoint's W + b @ a, in transformers' model without adapters, against peft's own merge of the same."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    model = adapted(base)
    train(model)
    trained = model.eval().hidden_states(**batch())[-1]
    state = {name: tensor.float() for name, tensor in load_file(base / "model.safetensors").items()}
    found = adapters.factors(model)
    for name in [name.removesuffix(".lora_a") for name in found if name.endswith(".lora_a")]:
        assert found[f"{name}.lora_a"].shape[0] == found[f"{name}.lora_b"].shape[1] == LORA["rank"]
        state[name] = state[name] + found[f"{name}.lora_b"] @ found[f"{name}.lora_a"]
    settings = {**read_json(base / "config.json"), "_attn_implementation": "eager"}
    reference = XLMRobertaModel(XLMRobertaConfig(**settings), add_pooling_layer=False).eval()
    reference.load_state_dict(state, strict=False)
    given = batch()
    real = given["attention_mask"].bool()
    torch.testing.assert_close(trained[real], reference(**given).last_hidden_state[real], atol=2e-5, rtol=1e-4)
    merged = copy.deepcopy(model)
    for layer in adapters._layers(merged.encoder).values():
        layer.merge()
    for name, tensor in merged.encoder.state_dict().items():
        if "lora_" not in name:
            torch.testing.assert_close(tensor.float(), state[checkpoints.plain(name)], atol=1e-6, rtol=1e-5)


def test_a_checkpoint_holds_factors_and_loads_as_what_was_trained(base, tmp_path):
    model = adapted(base)
    train(model)
    save(model, base, tmp_path / "target")
    stored = load_file(tmp_path / "target/model.safetensors")
    assert all(name.endswith((".lora_a", ".lora_b")) or name.startswith("heads.") for name in stored)
    again = loading.load(base, tmp_path / "target")
    assert not adapters.factors(again), "a loaded model is plain: evaluation and export need no peft"
    assert_same(again, model)


def test_a_target_after_an_intermediate_is_one_step_from_the_base(base, tmp_path):
    first = adapted(base)
    train(first)
    save(first, base, tmp_path / "encoder", keep_heads=False)
    second = adapted(base, tmp_path / "encoder", seed=2)
    start = second.hidden_states(**batch())[-1]
    torch.testing.assert_close(start, first.eval().hidden_states(**batch())[-1], atol=1e-5, rtol=1e-4)
    train(second)
    save(second, base, tmp_path / "target")
    stored = load_file(tmp_path / "target/model.safetensors")
    assert {t.shape[0] for name, t in stored.items() if name.endswith("lora_a")} == {2 * LORA["rank"]}
    again = loading.load(base, tmp_path / "target")
    assert_same(again, second)


def test_whole_tensors_of_a_sharded_model_are_stored_in_place_of_its_own(base):
    model = adapted(base)
    whole = {name: torch.full_like(value, 2.0) for name, value in model.state_dict().items()}
    found = adapters.factors(model, whole)
    assert {tuple(t.unique().tolist()) for name, t in found.items() if name.endswith("lora_a")} == {(2.0,)}
    assert {tuple(t.unique().tolist()) for name, t in found.items() if name.endswith("lora_b")} == {(2.0 * 6 / 4,)}


@pytest.mark.parametrize(
    ("model_type", "names"),
    [("modernbert", {"Wqkv", "Wo", "Wi"}), ("deberta-v2", {"query_proj", "key_proj", "value_proj", "dense"})],
)
def test_encoders_of_other_names_are_adapted_too(model_type, names):
    from transformers import AutoConfig, AutoModel

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    encoder = AutoModel.from_config(AutoConfig.for_model(model_type, **sizes, vocab_size=70, pad_token_id=1))
    found = adapters.matrices(encoder)
    assert {name.rsplit(".", 1)[-1] for name in found} == names and len(found) % 2 == 0

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

    model = Model()
    adapters.add(model, LORA, 1)
    assert len(adapters.factors(model)) == 2 * len(found)
    encoder(**batch()).last_hidden_state.square().sum().backward()
    reached = [p.grad is not None for name, p in model.named_parameters() if "lora_B" in name]
    assert reached and all(reached)


def test_without_the_library_the_user_is_told_and_planning_needs_none(base, monkeypatch):
    code = "import sys; from xstilts.training import loop, adapters; sys.exit('peft' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"trainable: lora needs .*Allowed without it: all, blocks\..*pip install peft"):
        adapters.add(loading.load(base), LORA, 1)


# ---- studies
def study(**training) -> studies.Study:
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    return studies.load({**config, "training": {**config["training"], **training}}, "config.yaml")


def job(**training) -> dict:
    return Specs(study(**training)).target("me5-small-l6", "mnli", 1, "udpos")


def test_a_study_that_names_a_method_has_it_in_its_jobs_and_others_do_not():
    plain = job()
    assert "lora" not in json.dumps(plain) and "optimiser" not in json.dumps(plain)
    assert plain == job(lora={"rank": 8}, optimiser="adamw"), "a default that is written down changes no identity"
    lora = job(trainable="lora", lora={"rank": 16})
    assert lora["lora"] == lora["encoder"]["lora"] == {"rank": 16, "alpha": 16, "dropout": 0.0}
    eight = job(optimiser="adamw8bit")
    assert eight["optimiser"] == eight["encoder"]["optimiser"] == "adamw8bit" and "lora" not in eight


def test_settings_that_would_do_nothing_are_refused_and_rates_for_other_weights_are_said():
    with pytest.raises(UserError, match=r"config.yaml: training.lora.rank: 16 .*trainable: blocks"):
        study(lora={"rank": 16})
    with pytest.raises(UserError, match=r"training.lora: unknown key 'r'"):
        study(trainable="lora", lora={"r": 16})
    assert not [notice for notice in study().notices if "lora" in notice]
    (notice,) = [notice for notice in study(trainable="lora").notices if "lora" in notice]
    assert "udpos" in notice and "learning_rate" in notice and "preset demo" in notice
    given = {"udpos": {"learning_rate": 3.0e-4}}
    (notice,) = [notice for notice in study(trainable="lora", overrides=given).notices if "lora" in notice]
    assert "udpos" not in notice and "mnli" in notice
