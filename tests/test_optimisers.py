"""Optimisers: AdamW equal to torch's, its 8-bit form to the library's, and parts of a parameter on several ranks."""

import subprocess
import sys

import pytest
import torch

from xstilts.errors import UserError
from xstilts.models import fetch, loading
from xstilts.training import optimisation

HYPER = {"learning_rate": 3e-3, "warmup": 0.1, "weight_decay": 0.01, "adam_epsilon": 1e-8, "schedule": "linear"}
EIGHT = {"optimiser": "adamw8bit"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "tiny"
    fetch.fetch({"model": "tiny", "source": {"type": "random"}, "identity": {}}, out)
    return out


def layers(seed: int = 3) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(96, 96), torch.nn.GELU(), torch.nn.Linear(96, 2))


def train(model, optimiser, steps: int = 60) -> list[float]:
    """Losses of learning whether two numbers have the same sign."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(256, 96, generator=draw)
    y, losses = (x[:, 0] * x[:, 1] > 0).long(), []
    for step in range(steps):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        losses.append(loss.item())
        optimisation.configure(optimiser, HYPER, step, steps)
        optimiser.step()
        optimiser.zero_grad()
    return losses


# ---- what follows the step
def test_the_schedule_equals_that_of_transformers():
    from transformers import get_linear_schedule_with_warmup

    hyper = {"warmup": 0.1, "schedule": "linear"}
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimiser, 3, 30)
    for step in range(30):
        assert optimisation.schedule(hyper, step, 30) == pytest.approx(theirs.get_last_lr()[0])
        optimiser.step()
        theirs.step()
    assert optimisation.schedule({"warmup_steps": 500}, 250, 1000) == 0.5
    assert optimisation.decay({**HYPER, "warmup": 0.5}, 5, 20) == pytest.approx((1.5e-3, 0.01))
    with pytest.raises(UserError, match="schedule: 'cosine' is unknown; allowed: linear, constant"):
        optimisation.schedule({"schedule": "cosine"}, 0, 10)


@pytest.mark.parametrize("spec", [{}, EIGHT], ids=["adamw", "adamw8bit"])
def test_biases_and_norms_are_not_decayed(base, spec):
    model = loading.load(base)
    optimiser = optimisation.build(model, spec)
    optimisation.configure(optimiser, HYPER, 6, 12)
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.0 if name.endswith("bias") or "LayerNorm" in name else 0.01), name


# ---- float32 moments
def test_adamw_equals_torchs_to_the_bit():
    def parameters():
        generator = torch.Generator().manual_seed(3)
        return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((7, 5), (5, 3), (9,))]

    ours, theirs = parameters(), parameters()
    own = optimisation.AdamW([{"params": ours[:2], "decayed": True}, {"params": ours[2:], "decayed": False}])
    peer = torch.optim.AdamW([{"params": theirs[:2]}, {"params": theirs[2:]}], betas=(0.9, 0.999), fused=True)
    for step in range(6):
        optimisation.configure(own, HYPER, step, 6)
        for group, settings in zip(peer.param_groups, own.param_groups, strict=True):
            group |= {key: settings[key] for key in ("lr", "eps", "weight_decay")}
        for side in (ours, theirs):
            for number, parameter in enumerate(side):
                if (number, step) not in ((1, 0), (1, 3)):  # a head that other tasks' steps do not use
                    parameter.grad = torch.sin(parameter.detach() * 10 + step)
        for optimiser in (own, peer):
            optimiser.step()
            optimiser.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert own.state[ours[1]]["step"] == peer.state[theirs[1]]["step"] == 4


def test_training_never_imports_the_compiler_of_torch():
    """torch._dynamo takes 1.1 s to import; torch's own optimisers do so when they are made. Other libraries: 2 s."""
    code = (
        "import sys, torch; from xstilts.training import loop, optimisation\n"
        "layer = torch.nn.Linear(2, 1); layer(torch.ones(1, 2)).sum().backward()\n"
        "optimiser = optimisation.build(layer, {})\n"
        "torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)\n"
        "optimisation.configure(optimiser, {'learning_rate': 0.1}, 0, 2); optimiser.step(); optimiser.zero_grad()\n"
        "print(sorted({'torch._dynamo', 'transformers', 'peft', 'bitsandbytes', 'accelerate'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


class Share:
    """A world of several ranks as the optimiser sees it: this rank's rows of every parameter."""

    def __init__(self, rank: int, ranks: int):
        self.rank, self.ranks = rank, ranks

    def local(self, tensor: torch.Tensor) -> torch.Tensor:
        parts = tensor.detach().chunk(self.ranks)
        return parts[self.rank] if self.rank < len(parts) else tensor.detach()[:0]


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_that_share_a_parameter_move_it_as_one(ranks):
    """The last layer has two rows: of three ranks the third has none of it."""
    whole, shared = layers(), layers()
    one = optimisation.build(whole, {})
    several = [optimisation.build(shared, {}, Share(rank, ranks)) for rank in range(ranks)]
    for step in range(4):
        for model, optimisers in ((whole, [one]), (shared, several)):
            model(torch.ones(2, 96) * step).sum().backward()
            for optimiser in optimisers:
                optimisation.configure(optimiser, HYPER, step, 4)
                optimiser.step()
            model.zero_grad()
    for a, b in zip(whole.parameters(), shared.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=0)
    rows = [optimiser.state[shared[0].weight]["exp_avg"].shape[0] for optimiser in several]
    assert sum(rows) == 96 and max(rows) < 96
    assert (shared[2].weight in several[-1].state) == (ranks == 2)


# ---- moments of 8 bits
def test_8_bit_adamw_equals_the_librarys_own_class():
    import bitsandbytes

    ours, theirs = layers(), layers()
    own = optimisation.build(ours, EIGHT)
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim == 2], "weight_decay": 0.01},
        {"params": [p for p in theirs.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    peer = bitsandbytes.optim.AdamW8bit(groups, lr=3e-3)
    for step in range(8):
        for model, optimiser in ((ours, own), (theirs, peer)):
            model(torch.randn(8, 96, generator=torch.Generator().manual_seed(step))).square().mean().backward()
            if optimiser is own:
                optimisation.configure(own, {**HYPER, "warmup": 0, "schedule": "constant"}, step, 8)
            optimiser.step()
            optimiser.zero_grad()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
    assert torch.equal(own.state[ours[0].weight]["state1"], peer.state[theirs[0].weight]["state1"])


def test_8_bit_moments_take_a_quarter_and_learn_as_well():
    models = layers(), layers()
    small, plain = (optimisation.build(model, spec) for model, spec in zip(models, (EIGHT, {}), strict=True))
    first, second = (train(model, one) for model, one in zip(models, (small, plain), strict=True))
    assert first[-1] < 0.1 < first[0] and abs(first[-1] - second[-1]) < 0.02

    def moments(optimiser, parameter):
        return sum(t.nbytes for t in optimiser.state[parameter].values() if t.ndim)

    assert moments(small, models[0][0].weight) < 0.27 * moments(plain, models[1][0].weight)
    state = small.state[models[0][0].weight]
    assert state["state1"].dtype == torch.uint8 and state["state1"].shape == (96, 96) and state["step"] == 60
    assert set(small.state[models[0][2].weight]) == {"step", "exp_avg", "exp_avg_sq"}, "small ones stay in float32"


def test_8_bit_adamw_goes_on_from_its_state_to_the_same_bytes():
    model, other = layers(), layers()
    whole, first = (optimisation.build(one, EIGHT) for one in (model, other))
    train(model, whole, steps=6)
    train(model, whole, steps=6)
    train(other, first, steps=6)
    second = optimisation.build(other, EIGHT)
    for parameter in second.parameters:
        second.state[parameter] = {key: tensor.clone() for key, tensor in first.state[parameter].items()}
    train(other, second, steps=6)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_embeddings_keep_exact_moments(base):
    """So trimming stays lossless: a row that no batch touches shares no scale with one that is touched."""
    model = loading.load(base)
    model.encoder.float()
    optimiser = optimisation.build(model, EIGHT)
    model.hidden_states(torch.arange(5, 25)[None], torch.ones(1, 20, dtype=torch.long))[-1].sum().backward()
    optimisation.configure(optimiser, HYPER, 1, 20)
    optimiser.step()
    words = model.encoder.embeddings.word_embeddings.weight
    assert words.numel() >= optimisation.SMALLEST and "exp_avg" in optimiser.state[words]
    assert optimiser.state[words]["exp_avg"].dtype == torch.float32


def test_without_the_library_or_with_another_name_the_user_is_told(monkeypatch):
    with pytest.raises(UserError, match="optimiser: 'sgd' is unknown; allowed: adamw, adamw8bit"):
        optimisation.build(layers(), {"optimiser": "sgd"})
    for name in ("bitsandbytes", "bitsandbytes.functional"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"optimiser: adamw8bit needs .*Allowed without it: adamw\..*pip install bitsa"):
        optimisation.build(layers(), EIGHT)
