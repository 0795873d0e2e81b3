"""The encoder's sizes and its short cuts: each gives what the plain computation gives, in less time or memory."""

import pytest
import torch
import torch.nn.functional as F

from xstilts.models import attention, encoder, fetch, heads, kernels, loading, runtime
from xstilts.models.encoder import Encoder

TINY = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40}
CONFIG = {**TINY, "model_type": "xlm-roberta", "max_position_embeddings": 40, "pad_token_id": 1, "layer_norm_eps": 1e-5}
SIZES = ["xlm-roberta", "xlm-roberta-xl"]


def example(vocab=50, pad=1):
    ids = torch.randint(4, vocab, (3, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[1, 6:], mask[2, 2:] = 0, 0
    return ids.masked_fill(mask == 0, pad), mask


def tiny(model_type="xlm-roberta", dropout=0.0, **changes) -> Encoder:
    """An encoder in training, its weights far from zero biases and unit norms."""
    probabilities = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    model = Encoder({**CONFIG, "model_type": model_type, **probabilities, **changes})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.3, generator=generator)
    return model.train()


def gradients(model, loss) -> dict:
    """Gradients by name; those of before are dropped."""
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_same(a: dict, b: dict, **tolerance) -> None:
    assert set(a) == set(b)
    for name, tensor in a.items():
        torch.testing.assert_close(tensor, b[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


def test_xl_equals_transformers_in_states_and_gradients():
    from transformers import XLMRobertaXLConfig, XLMRobertaXLModel

    config = XLMRobertaXLConfig(**TINY, max_position_embeddings=40, type_vocab_size=1, layer_norm_eps=1e-5)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    theirs = XLMRobertaXLModel(config, add_pooling_layer=False).train()
    ours = tiny("xlm-roberta-xl", type_vocab_size=1)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    ids, mask = example()
    want = theirs(ids, attention_mask=mask, output_hidden_states=True)
    got = ours(ids, mask)
    assert len(got) == 4
    for state, expected in zip(got[:-1], want.hidden_states[:-1], strict=True):  # not normalised, on both sides
        torch.testing.assert_close(state[mask == 1], expected[mask == 1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got[-1][mask == 1], want.last_hidden_state[mask == 1], atol=1e-5, rtol=1e-5)
    a = gradients(ours, got[-1][mask == 1].square().mean())
    b = gradients(theirs, want.last_hidden_state[mask == 1].square().mean())
    assert_same(a, b, atol=1e-4, rtol=1e-4)
    # without its last blocks a pre-norm encoder gives what is not normalised yet
    torch.testing.assert_close(ours(ids, mask, blocks=2)[-1], got[2])


def test_post_norm_gradients_equal_transformers():
    from transformers import XLMRobertaConfig, XLMRobertaModel

    config = XLMRobertaConfig(**TINY, max_position_embeddings=40, type_vocab_size=2, layer_norm_eps=1e-5)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    theirs, ours = XLMRobertaModel(config, add_pooling_layer=False).train(), tiny()
    theirs.load_state_dict(ours.state_dict())
    ids, mask = example()
    a = gradients(ours, ours(ids, mask)[-1][mask == 1].sin().sum())
    b = gradients(theirs, theirs(ids, attention_mask=mask).last_hidden_state[mask == 1].sin().sum())
    assert_same(a, b, atol=1e-4, rtol=1e-4)


def test_a_random_xl_model_has_unit_norms_and_loads(tmp_path):
    source = {"type": "random", "config": {"model_type": "xlm-roberta-xl", "architectures": ["XLMRobertaXLModel"]}}
    fetch.fetch({"model": "tiny", "source": source, "identity": {}}, tmp_path / "m")
    model = loading.load(tmp_path / "m")
    assert isinstance(model.encoder, Encoder)
    state = model.encoder.state_dict()
    norms = [name for name in state if "norm" in name.lower() and name.endswith("weight")]
    assert len(norms) == 2 * 2 + 1
    assert all(torch.equal(state[name], torch.ones_like(state[name])) for name in norms)
    ids, mask = example(5000)
    last = model.hidden_states(ids, mask)[-1]
    torch.testing.assert_close(last.mean(-1), torch.zeros(3, 9), atol=1e-5, rtol=0)


@pytest.mark.parametrize("model_type", SIZES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_only_the_wanted_positions_of_the_last_block_are_computed(model_type, checkpointing):
    model = tiny(model_type)
    model.checkpointing = checkpointing
    ids, mask = example()
    rows = torch.tensor([0, 3, 9, 14, 18])
    chosen = {"first": lambda state: state[:, :1], rows: lambda state: state.flatten(0, 1)[rows]}
    for only, choose in chosen.items():
        whole, states = model(ids, mask), model(ids, mask, only=only)
        torch.testing.assert_close(states[-1], choose(whole[-1]))
        for a, b in zip(states[:-1], whole[:-1], strict=True):
            assert torch.equal(a, b)
        a, b = (gradients(model, state.sin().sum()) for state in (states[-1], choose(whole[-1])))
        assert_same(a, b, atol=1e-5, rtol=1e-4)
    assert model(ids, mask, blocks=1, only="first")[-1].shape == (3, 9, 16), "the last block was not reached"


def test_heads_that_read_the_first_token_get_no_other(tmp_path):
    fetch.fetch({"model": "tiny", "source": {"type": "random"}, "identity": {}}, tmp_path / "m")
    model = loading.load(tmp_path / "m")
    model.add_head("job", "pair", 3, 1)
    ids, mask = example(5000)
    states = model.encoder(ids, mask)
    got = model.logits("job", {"input_ids": ids, "attention_mask": mask})
    torch.testing.assert_close(got, model.heads["job"](states[-1]))


@pytest.mark.parametrize("model_type", SIZES)
def test_no_mask_is_a_mask_of_ones(model_type):
    model = tiny(model_type)
    ids = example()[0].clamp(min=4)
    for a, b in zip(model(ids, torch.ones_like(ids)), model(ids, None), strict=True):
        assert torch.equal(a, b)
    assert attention.bias_of(torch.ones(2, 3), torch.float32) is None
    bias = attention.bias_of(torch.tensor([[1, 1, 0]]), torch.bfloat16)
    assert bias.shape == (1, 1, 1, 3) and bias.dtype == torch.bfloat16
    assert bias.flatten().tolist() == [0, 0, torch.finfo(torch.bfloat16).min]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model_type", SIZES)
def test_checkpointing_changes_no_bit_with_dropout_on(model_type, precision):
    model = tiny(model_type, dropout=0.2)
    model.embeddings.requires_grad_(False)  # the first block's input has no gradient then
    ids, mask = example()
    found = []
    for on in (False, True, False):
        encoder.set_checkpointing(model, on)
        torch.manual_seed(5)
        with runtime.autocast("cpu", precision):
            loss = model(ids, mask)[-1].sin().sum()
        found.append((loss.detach(), gradients(model, loss), torch.get_rng_state()))
    for loss, grads, random in found[1:]:
        assert torch.equal(loss, found[0][0])
        assert_same(grads, found[0][1], atol=0, rtol=0)
        assert torch.equal(random, found[0][2])


def test_checkpointing_keeps_each_blocks_input_alone():
    def kept(on: bool) -> int:
        """Bytes that wait for the backward pass: a storage once, parameters not."""
        model = tiny(dropout=0.1, hidden_size=64, num_hidden_layers=6, intermediate_size=256)
        model.checkpointing, storages = on, {}

        def pack(tensor):
            if not tensor.is_leaf or not tensor.requires_grad:
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = model(torch.full((8, 32), 5), None)[-1].sum()
        loss.backward()
        return sum(storages.values())

    input_of_a_block = 8 * 32 * 64 * 4
    assert 6 * input_of_a_block <= kept(True) < 15 * input_of_a_block
    assert kept(False) > 60 * input_of_a_block


def test_checkpointing_and_blocks_of_another_architecture():
    from xstilts.models import transformers_encoder

    small = {**TINY, "model_type": "modernbert", "pad_token_id": 1, "cls_token_id": 0, "sep_token_id": 2}
    torch.manual_seed(0)
    model = transformers_encoder.build({**small, "max_position_embeddings": 40}).train()
    assert len(encoder.blocks(model)) == 3 and encoder.blocks(model) is model.layers
    assert len(encoder.blocks(tiny())) == 3
    ids, mask = example()
    found = []
    for on in (False, True):
        encoder.set_checkpointing(model, on)
        found.append(gradients(model, model(ids, attention_mask=mask).last_hidden_state[mask == 1].sin().sum()))
    assert all(block.gradient_checkpointing for block in encoder.blocks(model))
    assert_same(found[0], found[1])


def test_compiling_is_left_to_accelerators():
    model = tiny()
    assert encoder.compile_blocks(model, torch.device("cpu")) is False
    assert all(block._compiled_call_impl is None for block in encoder.blocks(model))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_states_are_those_of_the_cpu_compiled_or_not():
    model = tiny()
    ids, mask = example()
    with torch.no_grad():
        want = model(ids, mask)[-1]
        model.cuda()
        assert torch.allclose(model(ids.cuda(), mask.cuda())[-1].cpu()[mask == 1], want[mask == 1], atol=1e-3)
        assert encoder.compile_blocks(model, torch.device("cuda"))
        assert torch.allclose(model(ids.cuda(), mask.cuda())[-1].cpu()[mask == 1], want[mask == 1], atol=1e-3)
    assert set(model.state_dict()) == set(tiny().state_dict())


def test_frozen_matrices_in_bfloat16_change_no_bit_under_autocast():
    ids, mask = example()
    found = []
    for convert in (False, True):
        model = tiny(dropout=0.1)
        model.requires_grad_(False)
        for block in encoder.blocks(model)[1:]:
            block.intermediate.requires_grad_(True)
            block.output["LayerNorm"].requires_grad_(True)
        if convert:
            encoder.keep_frozen_in(model, torch.bfloat16)
            assert encoder.blocks(model)[0].output["dense"].weight.dtype == torch.bfloat16
            assert encoder.blocks(model)[1].intermediate["dense"].weight.dtype == torch.float32, "it is trained"
            assert model.embeddings.word_embeddings.weight.dtype == torch.float32
            assert encoder.blocks(model)[0].output["LayerNorm"].weight.dtype == torch.float32
        torch.manual_seed(1)
        with runtime.autocast("cpu", "bf16"):
            loss = model(ids, mask)[-1].sin().sum()
        found.append((loss.detach(), gradients(model, loss)))
    assert torch.equal(found[0][0], found[1][0])
    assert len(found[0][1]) == 8
    assert_same(found[0][1], found[1][1], atol=0, rtol=0)


@pytest.mark.parametrize("shape", [(7, 48), (3, 5, 48)])
def test_linear_equals_torchs_in_values_and_gradients(shape):
    generator = torch.Generator().manual_seed(0)
    states, weight, bias = (torch.randn(s, generator=generator) for s in (shape, (32, 48), (32,)))

    named = (("s", states), ("w", weight), ("b", bias))

    def run(function, **frozen):
        inputs = [part.clone().requires_grad_(name not in frozen) for name, part in named]
        out = function(*inputs)
        out.sin().sum().backward()
        return [out.detach(), *[part.grad for part in inputs]]

    for frozen in ({}, {"s": 1}, {"w": 1, "b": 1}):
        for got, want in zip(run(kernels.linear, **frozen), run(F.linear, **frozen), strict=True):
            assert (got is None) == (want is None)
            if got is not None:
                torch.testing.assert_close(got, want)
    with torch.inference_mode():
        torch.testing.assert_close(kernels.linear(states, weight, bias), F.linear(states, weight, bias))
    with runtime.autocast("cpu", "bf16"):
        assert torch.equal(kernels.linear(states, weight, bias), F.linear(states, weight, bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_keeps_the_mean_and_sends_gradients_the_same_way(dtype):
    torch.manual_seed(0)
    states = torch.ones(1000, 1001, dtype=dtype).requires_grad_()  # not a multiple of 4 numbers
    dropped = kernels.dropout(states, 0.1)
    share = (dropped == 0).float().mean().item()
    assert abs(share - 0.1) < 0.002  # six standard deviations of a million draws
    factor = dropped.max().item()
    assert factor == pytest.approx(1 / 0.9, rel=1e-3 if dtype == torch.float32 else 4e-3)
    rows = (dropped == 0).float().mean(1)
    assert rows.std().item() == pytest.approx((0.1 * 0.9 / 1001) ** 0.5, rel=0.1), "draws must not depend on each other"
    neighbours = ((dropped[:, 1:] == 0) & (dropped[:, :-1] == 0)).float().mean().item()
    assert abs(neighbours - 0.01) < 0.001
    dropped.sum().backward()
    assert torch.equal(states.grad, dropped.detach())
    torch.manual_seed(0)
    assert torch.equal(kernels.dropout(states.detach(), 0.1), dropped.detach()), "the seed decides"
    torch.manual_seed(0)
    residual = torch.full((1000, 1001), 3.0, requires_grad=True)
    update = torch.ones(1000, 1001, dtype=dtype, requires_grad=True)
    total = kernels.add_dropped(residual, update, 0.1)
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, 3 + dropped.float(), rtol=1e-3, atol=0)
    total.sum().backward()
    assert torch.equal(residual.grad, torch.ones_like(residual)) and update.grad.dtype == dtype
    assert torch.equal(update.grad, dropped.detach())


def test_nothing_is_dropped_in_evaluation_or_with_probability_0():
    head = heads.build("tagging", 16, 4).eval()
    states = torch.randn(2, 3, 16)
    assert torch.equal(head(states), head(states))
    assert not torch.equal(head.train()(states), head(states))
    assert kernels.dropout(states, 0.0) is states
    assert isinstance(head.dropout, torch.nn.Dropout), "what a preset's dropout is set on"


@pytest.mark.parametrize("length", [1, 5])  # queries of the first token alone, of all
def test_attention_equals_torchs_in_values_and_gradients(length):
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, 3, size, 8, generator=generator) for size in (length, 5, 5)]
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])

    def run(function):
        inputs = [part.clone().requires_grad_() for part in parts]
        out = function(*inputs)
        out.sin().sum().backward()
        return [out.detach(), *[part.grad for part in inputs]]

    bias = attention.bias_of(mask, torch.float32)
    got = run(lambda q, k, v: attention.attend(q, k, v, bias, 0.0))
    want = run(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask.bool()[:, None, None]))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


def test_attention_drops_weights_and_sends_gradients_the_same_way():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 6, 6, generator=generator) for _ in range(3))
    unit = torch.eye(6).expand(2, 3, 6, 6)  # shows the weights after dropout
    torch.manual_seed(4)
    weights = attention.attend(query, key, unit, None, 0.3)
    plain = torch.softmax(query @ key.transpose(2, 3) / 6**0.5, -1)
    kept = weights != 0
    assert 0.1 < 1 - kept.float().mean() < 0.5
    torch.testing.assert_close(weights, plain * kept / 0.7, rtol=1e-4, atol=0)

    def run(function):
        inputs = [part.clone().requires_grad_() for part in (query, key, value)]
        torch.manual_seed(4)
        out = function(*inputs)
        out.sin().sum().backward()
        return [out.detach(), *[part.grad for part in inputs]]

    def reference(q, k, v):
        return (torch.softmax(q @ k.transpose(2, 3) / 6**0.5, -1) * kept / 0.7) @ v

    for a, b in zip(run(lambda *qkv: attention.attend(*qkv, None, 0.3)), run(reference), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
