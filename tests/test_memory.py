"""The plan of memory: published sizes, the order of what is tried, and a refusal that says what would help."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xstilts.errors import UserError
from xstilts.models.encoder import Encoder
from xstilts.training import memory, optimisation
from xstilts.training.memory import GIB, Job, Machine
from xstilts.training.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def config(layers: int, width: int, inner: int, heads: int, vocabulary: int, **other) -> dict:
    return {
        "model_type": "xlm-roberta",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": 514,
        **other,
    }


CONFIGS = {
    "mMiniLMv2 L6": config(6, 384, 1536, 12, 250_002),
    "mMiniLMv2 L12": config(12, 384, 1536, 12, 250_002),
    "mBERT": config(12, 768, 3072, 12, 119_547),
    "XLM-R base": config(12, 768, 3072, 12, 250_002),
    "XLM-R large": config(24, 1024, 4096, 16, 250_002),
    "XLM-R XL": config(36, 2560, 10_240, 32, 250_880),
    "XLM-R XXL": config(48, 4096, 16_384, 32, 250_880),
    "LaBSE": config(12, 768, 3072, 12, 501_153),
    "XLM-V": config(12, 768, 3072, 12, 901_629),
    "mmBERT base": config(22, 768, 1152, 12, 256_000, model_type="modernbert"),
}
# GiB of weights, gradients and moments at 16 bytes a parameter, from the models' parameter counts
SIXTEEN = {
    "mMiniLMv2 L6": 1.6,
    "mMiniLMv2 L12": 1.8,
    "mBERT": 2.6,
    "XLM-R base": 4.1,
    "XLM-R large": 8.3,
    "XLM-R XL": 51.8,
    "XLM-R XXL": 159.4,
    "LaBSE": 7.0,
    "XLM-V": 11.6,
    "mmBERT base": 4.6,
}
A100, H200 = int(74.5 * GIB), int(139 * GIB)


def gpus(number: int, size: int = A100) -> Machine:
    return Machine("cuda", (size,) * number)


def states(parts: dict) -> float:
    return sum(parts[name] for name in ("weights", "gradients", "optimiser")) / GIB


@pytest.mark.parametrize("name", SIXTEEN)
def test_full_training_takes_sixteen_bytes_a_parameter(name):
    parts = memory.estimate(CONFIGS[name], Job(name), "one", 1, 4096, False)
    assert states(parts) == pytest.approx(SIXTEEN[name], rel=0.01, abs=0.06)


def test_other_ways_of_training_take_what_they_say():
    xxl, xl = CONFIGS["XLM-R XXL"], CONFIGS["XLM-R XL"]
    for model, published in ((xl, 6.5), (xxl, 19.9)):
        assert states(memory.estimate(model, Job(""), "fsdp", 8, 4096, True)) == pytest.approx(published, rel=0.01)
    lora = memory.estimate(xxl, Job("", trainable="lora"), "one", 1, 4096, True)
    # 19.9 GiB where all is bfloat16; the frozen word embeddings stay float32 here: 250,880 x 4,096 x 2 bytes more
    assert lora["frozen"] / GIB == pytest.approx(19.9 + 1.9, rel=0.01)
    assert states(lora) < 1
    eight, full = (memory.estimate(xl, Job("", optimiser=o), "one", 1, 4096, True) for o in ("adamw8bit", "adamw"))
    # 250,880 + 514 + 3 embeddings of width 2,560 and vectors of the blocks' width keep 8 bytes, all others 2 + 8/256
    exact = (250_880 + 514 + 3 + 36 * 9) * 2560
    assert full["optimiser"] - eight["optimiser"] == pytest.approx((full["optimiser"] / 8 - exact) * (6 - 8 / 256))
    frozen = memory.estimate(xl, Job("", trainable="blocks"), "one", 1, 4096, True)
    assert states(frozen) == pytest.approx(2_833_676_800 * 16 / GIB, rel=0.01)
    trimmed = memory.estimate(xl, Job("", rows=20_000), "one", 1, 4096, True)
    assert states(memory.estimate(xl, Job(""), "one", 1, 4096, True)) - states(trimmed) == pytest.approx(
        230_880 * 2560 * 16 / GIB, rel=0.01
    )


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_activations_are_bounded_by_what_autograd_keeps(precision):
    width, heads = 96, 4

    def kept(layers: int, size: int, length: int) -> int:
        encoder = Encoder(config(layers, width, 4 * width, heads, 50, pad_token_id=1, type_vocab_size=1)).train()
        for parameter in encoder.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
        found, tensors = {}, []
        weights = {parameter.untyped_storage().data_ptr() for parameter in encoder.parameters()}

        def keep(tensor):
            tensors.append(tensor)  # no memory is used twice while they live
            if tensor.untyped_storage().data_ptr() not in weights:
                found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        ids = torch.full((size, length), 5)
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            encoder(ids, torch.ones_like(ids))
        return sum(found.values())

    linear, quadratic = memory.ACTIVATIONS[precision]
    for size, length in ((256, 16), (32, 128)):
        block = (kept(3, size, length) - kept(1, size, length)) / 2
        formula = size * length * width * (linear + quadratic * heads * length / width)
        assert 0.6 * formula < block < 1.1 * formula  # a tenth for the casts of a block's matrices


def test_what_fits_on_one_device_stays_there():
    for name in ("XLM-R base", "XLM-R large"):
        plan = memory.plan(CONFIGS[name], Job(name), gpus(8), Settings())
        assert (plan.strategy, plan.size, plan.tokens_per_batch, plan.gradient_checkpointing) == (
            "one",
            1,
            16_384,
            False,
        )
        assert plan.bytes_a_device == sum(plan.parts.values()) < A100


def test_smaller_batches_then_checkpointing_then_sharding():
    job, order = Job("m", longest=256, batch_size=64), []
    large, full = CONFIGS["XLM-R large"], None
    for size in range(180, 8, -1):
        try:
            plan = memory.plan(large, job, gpus(8, size * GIB // 4), Settings())
        except UserError:
            break
        step = (plan.strategy, plan.gradient_checkpointing, plan.tokens_per_batch)
        full = full or plan
        order += [step] if step not in order else []
    assert full.tokens_per_batch == 16_384 and not full.gradient_checkpointing
    kinds = list(dict.fromkeys((strategy, checkpointing) for strategy, checkpointing, _ in order))
    assert kinds[:2] == [("one", False), ("one", True)] and kinds[2][0] == "fsdp"
    first = next(at for at, (_, checkpointing, _) in enumerate(order) if checkpointing)
    assert [tokens for *_, tokens in order[:first]] == [16_384, 8192, 4096, 2048]
    assert min(tokens for *_, tokens in order) >= job.longest


def test_xxl_on_one_gpu_is_refused_with_what_would_help():
    with pytest.raises(UserError) as refusal:
        memory.plan(CONFIGS["XLM-R XXL"], Job("xlm-r-xxl"), gpus(1), Settings())
    text = str(refusal.value)
    assert "xlm-r-xxl does not fit in memory" in text and "1 x 74.5 GiB of GPU memory" in text
    needed = float(text.split("needs at least ")[1].split()[0])
    assert 159.4 < needed < 190
    # what fits stands first, with the file and the key
    before, _, after = text.partition("changes what is computed, so that the job is another one:")
    assert "catalog/models/xlm-r-xxl.yaml: runtime: {devices: 4, strategy: fsdp}: 51" in before
    fits, _, large = after.partition("Too large as well: ")
    assert fits.strip().startswith("- the study's file: training: {trainable: lora}: ") and fits.count("GiB") == 1
    assert "{trainable: blocks} (" in large and "{optimiser: adamw8bit} (" in large and "lora" not in large
    assert "run the same command again" in text.splitlines()[-1]
    plan = memory.plan(CONFIGS["XLM-R XXL"], Job("xlm-r-xxl", trainable="lora"), gpus(1), Settings())
    assert (plan.strategy, plan.size) == ("one", 1)  # what the refusal promised
    assert memory.plan(CONFIGS["XLM-R XXL"], Job("xlm-r-xxl"), gpus(4), Settings()).strategy == "fsdp"
    with pytest.raises(UserError, match=r"GiB on each of 2 devices, sharded; this machine has 2 x 74.5 GiB"):
        memory.plan(CONFIGS["XLM-R XXL"], Job("xlm-r-xxl"), gpus(2), Settings())
    with pytest.raises(UserError, match="20,000 of 250,880 word embeddings are counted"):
        memory.plan(CONFIGS["XLM-R XXL"], Job("xlm-r-xxl", rows=20_000), gpus(2), Settings())


def test_xxl_with_8_bit_moments_fits_141_gb_just():
    def plan(size: int) -> memory.Plan:
        return memory.plan(CONFIGS["XLM-R XXL"], Job("xxl", optimiser="adamw8bit"), gpus(1, size), Settings())

    found = plan(H200)
    assert found.strategy == "one" and found.gradient_checkpointing
    assert 25.5 < found.parts["optimiser"] / GIB < 26.5  # 20 GiB where the embeddings' moments had 8 bits too
    with pytest.raises(memory.TooLarge):
        plan(H200 - 8 * GIB)


def test_the_memory_beside_the_gpus_is_planned():
    model, job = CONFIGS["XLM-R XL"], Job("xl", keeps_best=True)
    parts = memory.host(model, job, "one", 1)
    trained = memory.estimate(model, job, "one", 1, 4096, True)["weights"] / 4
    assert (parts["state"], parts["best weights"]) == (12 * trained, 4 * trained)
    # whole weights in each process of ddp, shares that add up to one whole of fsdp
    assert memory.host(model, job, "ddp", 4)["best weights"] == 16 * trained
    assert memory.host(model, job, "fsdp", 4)["best weights"] == 4 * trained
    assert memory.plan(model, job, replace(gpus(1), host=64 * GIB), Settings()).strategy == "one"
    with pytest.raises(
        memory.TooLarge, match=r"needs 52.\d GiB of the machine's memory \(state 38.\d.*there are 32.0 GiB"
    ):
        memory.plan(model, job, replace(gpus(1), host=32 * GIB), Settings())
    assert memory.plan(model, replace(job, trainable="lora"), replace(gpus(1), host=8 * GIB), Settings())


def test_a_job_of_the_workflow_takes_what_was_booked(monkeypatch):
    model = CONFIGS["XLM-R XXL"]
    assert memory.plan(model, Job("xxl"), gpus(4), Settings()).size == 4
    with pytest.raises(memory.TooLarge) as refusal:
        memory.plan(model, Job("xxl"), replace(gpus(4), booked=1), Settings())
    assert "{devices: 4, strategy: fsdp}" in str(refusal.value) and "the workflow books one GPU" in str(refusal.value)
    assert memory.plan(model, Job("xxl"), replace(gpus(4), booked=1), Settings(devices=4)).strategy == "fsdp"
    monkeypatch.setenv("XSTILTS_GPUS", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert memory.machine("cuda").booked == 1 and memory.machine("cuda").host > GIB


def test_small_tensors_are_those_of_the_optimiser():
    assert memory.SMALLEST == optimisation.SMALLEST
    assert memory.MOMENTS["adamw8bit"] == 2 + 2 * 4 / optimisation.BLOCK


def test_xl_fits_one_gpu_of_80_gb():
    plan = memory.plan(CONFIGS["XLM-R XL"], Job("xl", longest=256), gpus(1), Settings(gradient_checkpointing=True))
    assert plan.strategy == "one" and plan.gradient_checkpointing and plan.tokens_per_batch >= 2048


def test_settings_are_kept():
    base = CONFIGS["XLM-R base"]
    assert memory.plan(base, Job(""), gpus(4), Settings(strategy="ddp")).size == 4
    assert memory.plan(base, Job(""), gpus(4), Settings(devices=2)).strategy == "ddp"
    assert memory.plan(CONFIGS["XLM-R XXL"], Job(""), gpus(8), Settings(devices=4)).strategy == "fsdp"
    assert memory.plan(base, Job(""), gpus(4), Settings(strategy="fsdp", devices=3)).size == 3
    assert memory.plan(base, Job(""), gpus(1), Settings(strategy="ddp")).strategy == "one"
    assert memory.plan(base, Job(""), gpus(1), Settings(gradient_checkpointing=True)).gradient_checkpointing
    with pytest.raises(UserError, match="devices: 5, but this process sees 4 GPUs"):
        memory.plan(base, Job(""), gpus(4), Settings(devices=5))
    with pytest.raises(UserError, match="gradient_checkpointing: true"):
        settings = Settings(strategy="one", gradient_checkpointing=False)
        memory.plan(CONFIGS["XLM-R XL"], Job("", longest=512), gpus(1, 64 * GIB), settings)


def test_started_processes_and_a_cpu(monkeypatch):
    base, laptop = CONFIGS["XLM-R base"], Machine("cpu", (16 * GIB,))
    assert memory.plan(base, Job(""), laptop, Settings()).strategy == "one"
    assert memory.plan(base, Job(""), laptop, Settings(strategy="fsdp", devices=2)).size == 2
    with pytest.raises(UserError, match="on a CPU needs a number of processes: add --devices 2"):
        memory.plan(base, Job(""), laptop, Settings(strategy="ddp"))
    with pytest.raises(UserError, match="a machine with more memory"):
        memory.plan(CONFIGS["XLM-R XL"], Job(""), laptop, Settings())
    # several processes share the memory of one machine
    assert laptop.usable(4) * 4 == pytest.approx(laptop.usable(1))
    assert memory.plan(base, Job(""), replace(laptop, ranks=2), Settings()).size == 2
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    found = memory.machine("cpu")
    assert found.ranks == 3 and GIB < found.devices[0] < 2**50
    assert memory.plan(base, Job(""), replace(gpus(3), ranks=3), Settings()).strategy == "ddp"


def test_a_job_is_read_from_its_spec():
    hyper = {"max_length": 128, "batch_size": 32, "selection": "english_dev_best", "eval_every": 100}
    tasks = [{"kind": "pair", "hyper": hyper}, {"kind": "choice", "hyper": {"max_length": 256, "batch_size": 8}}]
    spec = {"model": {"name": "m"}, "trainable": "all", "precision": "bf16", "tasks": tasks}
    job = memory.job(spec, rows=1000)
    assert (job.name, job.longest, job.batch_size, job.keeps_best, job.rows) == ("m", 256, 32, True, 1000)
    assert memory.job(spec, trim=False, rows=1000).rows is None
    assert memory.job({**spec, "tasks": [{"kind": "mlm", "hyper": hyper}]}, rows=1000).rows is None
    other = memory.job({**spec, "optimiser": "adamw8bit", "trainable": "lora", "lora": {"rank": 16}})
    assert (other.optimiser, other.trainable, other.rank) == ("adamw8bit", "lora", 16)
    # an example of five choices is never split: batches are not planned smaller than that
    small = memory.plan(CONFIGS["XLM-R large"], job, gpus(1, 13 * GIB), Settings())
    assert small.tokens_per_batch >= 5 * 256


def test_planning_needs_no_torch():
    code = "import sys; from xstilts.training import memory; memory.machine('cpu'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
