"""Lossless vocabulary trimming against training all rows, and the checkpoints of trimmed and low-rank trainings."""

import shutil

import numpy as np
import pytest
import torch

from xstilts.errors import UserError
from xstilts.models import checkpoints, export, fetch, loading, runtime, trimming
from xstilts.training import optimisation

WORDS = "embeddings.word_embeddings.weight"
MATRIX = "encoder.layer.0.output.dense.weight"
STEPS = 16
HYPER = {"learning_rate": 3e-3, "warmup": 0.2, "weight_decay": 0.3, "schedule": "linear", "adam_epsilon": 1e-8}
# The gradient of a key's bias is 0 (softmax does not see it) but for rounding, and Adam divides it by its own size:
# where two trainings start a rounding error apart, 1e-8 makes whole steps of it.
STEADY = {**HYPER, "adam_epsilon": 1e-5}
TASKS = {"nli": ("pair", 3), "tags": ("tagging", 4)}
FIRST, SECOND = range(10, 90), range(60, 300, 2)  # pieces of an intermediate and of a target training: some in both
DEV = [400, 401]  # looked up on dev, never in training


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "tiny"
    source = {"type": "random", "config": {"initializer_range": 0.2}}
    fetch.fetch({"model": "tiny", "source": source, "identity": {}}, out)
    return out


@pytest.fixture(scope="module")
def foreign(base, tmp_path_factory):
    """A model that runs through transformers, whose embeddings give padding no gradient."""
    from transformers import AutoConfig, AutoModel

    small = {"vocab_size": 500, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    small |= {"intermediate_size": 24, "max_position_embeddings": 40, "type_vocab_size": 0, "pad_token_id": 1}
    folder = tmp_path_factory.mktemp("deberta")
    torch.manual_seed(1)
    AutoModel.from_config(AutoConfig.for_model("deberta-v2", **small)).save_pretrained(folder / "hf")
    shutil.copyfile(base / "tokenizer.json", folder / "hf/tokenizer.json")
    source = {"type": "local", "folder": str(folder / "hf")}
    fetch.fetch({"model": "other", "source": source, "identity": {}}, folder / "m")
    return folder / "m"


def spec(stage="target"):
    return {"stage": stage, "model": {"name": "tiny"}, "seed": 1}


def batch(ids, step, pad=1):
    """A batch of 4 texts of different lengths over the pieces `ids`, with labels of either task."""
    draw = torch.Generator().manual_seed(step)
    pieces = torch.tensor(list(ids))[torch.randint(len(ids), (4, 9), generator=draw)]
    mask = (torch.arange(9) < torch.tensor([9, 5, 7, 2])[:, None]).long()
    labels = {"nli": torch.randint(3, (4,), generator=draw), "tags": torch.randint(4, (4, 9), generator=draw)}
    return {"input_ids": pieces.masked_fill(mask == 0, pad), "attention_mask": mask}, labels


def trained(base, out, ids, trim, encoder=None, hyper=HYPER):
    """Train two tasks in turn, dropout on, gradients clipped; save; return (model, optimiser)."""
    model = loading.load(base, encoder)
    if trim:
        trimming.trim(model, np.array([*ids, *DEV]))
    else:
        trimming.densify(model)
    for task, (kind, labels) in TASKS.items():
        settings = {"kind": kind, "labels": [str(n) for n in range(labels)], "options": {}}
        model.add_head(task, kind, labels, 1, settings)
    parameters = [one for one in model.parameters() if one.requires_grad]
    groups = [[one for one in parameters if (one.ndim >= 2) is decayed] for decayed in (True, False)]
    optimiser = optimisation.AdamW([{"params": groups[0], "decayed": True}, {"params": groups[1], "decayed": False}])
    torch.manual_seed(5)
    model.train()
    for step in range(STEPS):
        task = list(TASKS)[step % 2]
        inputs, labels = batch(ids, step)
        logits = model.logits(task, inputs)
        torch.nn.functional.cross_entropy(logits.flatten(0, -2), labels[task].flatten()).backward()
        optimisation.configure(optimiser, hyper, step, STEPS)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if model.trimmed:
            decayed = optimiser.param_groups[0]
            model.trimmed.decayed(decayed["lr"], decayed["weight_decay"])
    checkpoints.save(out, model, base, spec("intermediate" if encoder is None else "target"), keep_heads=True)
    return model.eval(), optimiser


def tensors(base, checkpoint) -> dict:
    """Every tensor of a checkpoint's model, as any reader sees it."""
    model = loading.load(base, checkpoint)
    trimming.densify(model)
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def assert_equal_models(base, one, other):
    ours, theirs = tensors(base, one), tensors(base, other)
    assert set(ours) == set(theirs)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-6, rtol=0, msg=lambda text, name=name: name + text)
    return ours


@pytest.mark.parametrize("model", ["base", "foreign"])
def test_a_trimmed_training_equals_one_of_all_rows(request, tmp_path, model):
    base = request.getfixturevalue(model)
    for trim in (True, False):
        trained(base, tmp_path / f"i{trim}", FIRST, trim)
        trained(base, tmp_path / f"t{trim}", SECOND, trim, tmp_path / f"i{trim}", STEADY)
    first = assert_equal_models(base, tmp_path / "iTrue", tmp_path / "iFalse")
    second = assert_equal_models(base, tmp_path / "tTrue", tmp_path / "tFalse")
    # none of the kinds of row is the base's, so that none could have been left out unnoticed
    was = checkpoints.read_tensors(base / "model.safetensors")[WORDS].float()
    for now, before in ((first, was), (second, first[f"encoder.{WORDS}"])):
        change = (now[f"encoder.{WORDS}"] - before).abs().amax(dim=1)
        for piece in (10, 60, 62, 298, DEV[0], 450):  # first, both, both, second, dev, never looked up
            assert change[piece] > 1e-5, piece


def test_the_optimiser_and_the_checkpoint_hold_the_rows_that_data_can_touch(base, tmp_path):
    model, optimiser = trained(base, tmp_path / "i", FIRST, True)
    kept = len({*FIRST, *DEV, model.pad_id})
    width, size = model.config["hidden_size"], model.config["vocab_size"]
    moments = optimiser.state[model.get_parameter(f"encoder.{WORDS}")]
    assert moments["exp_avg"].shape == moments["exp_avg_sq"].shape == (kept, width)
    assert size > 50 * kept
    saved = checkpoints.read_tensors(tmp_path / "i/model.safetensors")
    assert WORDS not in saved and saved[f"{WORDS}.touched"].shape == (kept, width)
    assert (tmp_path / "i/model.safetensors").stat().st_size < size * width
    trained(base, tmp_path / "t", SECOND, True, tmp_path / "i")
    later = checkpoints.read_tensors(tmp_path / "t/model.safetensors")
    rows = later[f"{WORDS}.rows"]
    assert rows.dtype == torch.int32 and rows.tolist() == sorted({*FIRST, *SECOND, *DEV, model.pad_id})
    # one of the first training's rows that the second did not touch: its value then, decayed since
    decays = [one[f"{WORDS}.decay"].item() for one in (saved, later)]
    then = saved[f"{WORDS}.touched"][saved[f"{WORDS}.rows"].tolist().index(11)]
    torch.testing.assert_close(later[f"{WORDS}.touched"][rows.tolist().index(11)], then * (decays[1] / decays[0]))
    rates = [HYPER["learning_rate"] * optimisation.schedule(HYPER, step, STEPS) for step in range(STEPS)]
    expected = np.prod([1 - rate * HYPER["weight_decay"] for rate in rates])
    assert decays == pytest.approx([expected, expected**2], rel=1e-12)


def test_the_model_in_training_the_loaded_and_the_exported_one_agree(base, tmp_path):
    model, _ = trained(base, tmp_path / "c", FIRST, True)
    inputs, _ = batch([*FIRST, *DEV], 99)
    again = loading.load(base, tmp_path / "c")
    with torch.inference_mode():
        assert torch.equal(model.logits("nli", inputs), again.logits("nli", inputs))
    words = again.encoder.embeddings.word_embeddings
    assert words.weight.dtype == torch.float16, "the base's matrix stays as it is stored"
    every = torch.arange(len(words.weight))[None]
    assert torch.equal(words(every)[0], words.dense()) and torch.equal(again.word_embeddings, words.dense())
    model.heads = torch.nn.ModuleDict()
    checkpoints.save(tmp_path / "i", model, base, spec("intermediate"), keep_heads=False)
    export.export(tmp_path / "i", base, tmp_path / "hf")
    assert torch.equal(checkpoints.read_tensors(tmp_path / "hf/model.safetensors")[WORDS], words.dense())


def test_frozen_word_embeddings_of_a_trimmed_training_are_passed_on(base, tmp_path):
    trained(base, tmp_path / "i", FIRST, True)
    model = loading.load(base, tmp_path / "i")
    model.embeddings.requires_grad_(False)
    model.add_head("mlm", "mlm", 0, 1)  # reads every row, and makes the matrix dense
    assert model.encoder.embeddings.word_embeddings.weight.dtype == torch.float32
    assert not model.word_embeddings.requires_grad
    checkpoints.save(tmp_path / "t", model, base, spec(), keep_heads=False)
    first, second = (checkpoints.read_tensors(tmp_path / name / "model.safetensors") for name in "it")
    assert {name for name in first if not name.startswith("heads.")} == set(second)
    for name, tensor in second.items():
        assert torch.equal(tensor, first[name]), name


def test_a_trimmed_training_after_one_of_all_rows_keeps_both(base, tmp_path):
    """Masked text in an intermediate mixture gives every row a gradient; the target task after it is trimmed."""
    trained(base, tmp_path / "i", FIRST, False)
    for trim in (True, False):
        trained(base, tmp_path / f"t{trim}", SECOND, trim, tmp_path / "i", STEADY)
    assert_equal_models(base, tmp_path / "tTrue", tmp_path / "tFalse")


def test_sharded_tensors_are_taken_whole(base, tmp_path):
    model, _ = trained(base, tmp_path / "one", FIRST, True)
    whole = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():  # what this process has of them is not what is to be stored
            parameter.zero_()
    checkpoints.save(tmp_path / "two", model, base, spec("intermediate"), keep_heads=True, tensors=whole)
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()


def test_a_piece_that_was_not_kept_is_an_error_and_never_another_row(base):
    model = loading.load(base)
    trimming.trim(model, [5, 9])
    words = model.encoder.embeddings.word_embeddings
    assert words(torch.tensor([[5, model.pad_id, 9]])).shape == (1, 3, model.config["hidden_size"])
    for piece in (7, -1, len(words.index)):
        with pytest.raises(IndexError):
            words(torch.tensor([[5, piece]]))
    with pytest.raises(ValueError, match="trimmed"):
        model.add_head("mlm", "mlm", 0, 1)
    with pytest.raises(UserError, match=r"tokenizer.json: gives piece 99999, and the model has embeddings for 0 to"):
        trimming.trim(loading.load(base), [5, 99999])


DAMAGE = {
    "row beyond the model": ("rows", lambda t: t + 10**6, "rows .* the base model has 0 to"),
    "negative row": ("rows", lambda t: t - 20, "rows .* the base model has 0 to"),
    "row twice": ("rows", lambda t: torch.cat([t[:1], t[:-1]]), "each greater than the one before"),
    "rows as floats": ("rows", lambda t: t.float(), "must be int32"),
    "values cut short": ("touched", lambda t: t[:-1], "do not fit"),
    "decay is nan": ("decay", lambda t: t * float("nan"), "decay must be one finite float64 number, is .nan"),
    "decay missing": ("decay", lambda t: None, r"holds .rows .touched, expected .rows .touched .decay"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_rows_are_named(base, tmp_path, damage):
    part, change, message = DAMAGE[damage]
    model = loading.load(base)
    trimming.trim(model, FIRST)
    checkpoints.save(tmp_path, model, base, spec(), keep_heads=False)
    saved = {name: tensor.clone() for name, tensor in checkpoints.read_tensors(tmp_path / "model.safetensors").items()}
    saved[f"{WORDS}.{part}"] = change(saved[f"{WORDS}.{part}"])
    checkpoints.write_tensors(tmp_path / "model.safetensors", {n: t for n, t in saved.items() if t is not None})
    with pytest.raises(
        UserError, match=rf"model.safetensors: {WORDS}: .*{message}.*damaged: delete it and train again"
    ):
        loading.load(base, tmp_path)


def test_rows_of_another_matrix_are_refused(base, tmp_path):
    model = loading.load(base)
    checkpoints.save(tmp_path, model, base, spec(), keep_heads=False)
    rows = trimming.Touched(torch.tensor([0], dtype=torch.int32), torch.zeros(1, 64), 1.0)
    checkpoints.write_tensors(tmp_path / "model.safetensors", rows.tensors(MATRIX))
    with pytest.raises(UserError, match=f"{MATRIX}.rows: only rows of {WORDS} can be stored"):
        loading.load(base, tmp_path)


# ---- low-rank factors
def factors(scale):
    draw = torch.Generator().manual_seed(scale)
    return {
        f"{MATRIX}.lora_a": torch.randn(2, 64, generator=draw),
        f"{MATRIX}.lora_b": torch.randn(32, 2, generator=draw) * scale,
    }


def test_low_rank_factors_add_up_from_the_base_and_are_refused_where_they_do_not_fit(base, tmp_path):
    found, encoder = [factors(1), factors(3)], None
    for number, one in enumerate(found):
        model = loading.load(base, encoder)
        model.encoder.requires_grad_(False)
        encoder = tmp_path / str(number)
        checkpoints.save(encoder, model, base, spec(), keep_heads=False, factors=one)
    saved = checkpoints.read_tensors(encoder / "model.safetensors")
    assert {name: tuple(t.shape) for name, t in saved.items()} == {
        f"{MATRIX}.lora_a": (4, 64),
        f"{MATRIX}.lora_b": (32, 4),
    }
    was = checkpoints.read_tensors(base / "model.safetensors")[MATRIX].float()
    expected = was + sum(one[f"{MATRIX}.lora_b"] @ one[f"{MATRIX}.lora_a"] for one in found)
    torch.testing.assert_close(tensors(base, encoder)[f"encoder.{MATRIX}"], expected)
    export.export(encoder, base, tmp_path / "hf")
    torch.testing.assert_close(checkpoints.read_tensors(tmp_path / "hf/model.safetensors")[MATRIX], expected)
    # all weights trained after an adapter: the matrix is stored whole
    model = loading.load(base, encoder)
    checkpoints.save(tmp_path / "whole", model, base, spec(), keep_heads=False)
    assert set(checkpoints.read_tensors(tmp_path / "whole/model.safetensors")) == {MATRIX}
    checkpoints.write_tensors(encoder / "model.safetensors", {**saved, f"{MATRIX}.lora_a": torch.zeros(3, 64)})
    with pytest.raises(UserError, match=rf"{MATRIX}: factors of \(32, 4\) and \(3, 64\) do not make \(32, 64\)"):
        loading.load(base, encoder)


# ---- loading
def test_matrices_may_be_loaded_in_bfloat16_at_equal_results(base, tmp_path):
    trained(base, tmp_path / "c", FIRST, True)
    inputs, _ = batch(FIRST, 1)
    found = []
    for dtype in (None, torch.bfloat16):
        model = loading.load(base, tmp_path / "c", dtype=dtype)
        assert model.get_parameter(f"encoder.{MATRIX}").dtype == (dtype or torch.float32)
        with torch.inference_mode(), runtime.autocast("cpu", "bf16"):
            found.append(model.logits("tags", inputs))
    assert torch.equal(*found)


def test_loading_draws_no_random_numbers_and_leaves_nothing_without_memory(base, foreign):
    for folder in (base, foreign):
        before = torch.get_rng_state()
        model = loading.load(folder)
        assert torch.equal(before, torch.get_rng_state()), "3.5 billion weights are not drawn to be overwritten"
        assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="")]),
    ],
)
def test_rows_and_what_lies_over_the_base_work_where_the_model_is(base, tmp_path, device):
    model = loading.load(base)
    trimming.trim(model, FIRST)
    model.trimmed.decayed(0.5, 0.5)
    inputs = {name: tensor.to(device) for name, tensor in batch(FIRST, 1)[0].items()}
    before = model.to(device).hidden_states(**inputs)[-1]
    real = inputs["attention_mask"] == 1
    before[real].pow(3).sum().backward()
    touched = model.trimmed.module.weight.grad.abs().amax(dim=1).nonzero().flatten()
    rows = model.trimmed.tensors()[f"{WORDS}.rows"].to(device)
    assert torch.equal(rows[touched].long(), inputs["input_ids"][real].unique())
    checkpoints.save(tmp_path, model, base, spec(), keep_heads=False)
    again = loading.load(base, tmp_path, device)
    assert again.device.type == device
    torch.testing.assert_close(again.hidden_states(**inputs)[-1], before)
    words = again.encoder.embeddings.word_embeddings
    far = torch.tensor([[500]], device=device)
    torch.testing.assert_close(words(far), words.weight[far].float() * 0.75)
