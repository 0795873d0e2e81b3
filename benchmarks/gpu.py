"""XLM-R base to XXL on a GPU, random weights, realistic lengths -> rows of benchmarks/results/gpu.json.

    make bench-gpu                                            # in the project's .venv (LOCK=envs/cuda.txt)
    python3 -m benchmarks.gpu --models xlm-r-base xlm-r-large # anywhere with torch, transformers, accelerate

Ours with default settings, ours with torch.compile, and Trainer (bf16, padded to max_length) on the same sequences, one
after another. MFU is over the bf16 peak that a large matrix product reaches on the same GPU (training/accounting.py);
Trainer's is ours times the ratio of the rates: the same tokens cost the same useful operations. It needs no hub, no
catalog of tasks and no Snakemake; texts are random characters, Zipf's law, lengths log-normal.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import unicodedata
from pathlib import Path

from benchmarks import random_weights, sides, store

LABELS = ["entailment", "neutral", "contradiction"]
EXAMPLES, DEV = 8192, 32
# the runs of each: model's name in the catalog -> its shape, stored type, how it is trained, Trainer's checkpointing
MODELS = {
    "xlm-r-base": {"config": random_weights.BASE, "steps": 60},
    "xlm-r-large": {"config": random_weights.LARGE, "steps": 60},
    "xlm-r-xl": {"config": random_weights.XL, "steps": 20, "dtype": "bfloat16", "checkpointing": True},
    "xlm-r-xxl": {"config": random_weights.XXL, "steps": 10, "dtype": "bfloat16", "trainable": "lora"},
}
# lengths in pieces: pairs of MNLI's shape with the published batch and a larger one; questions with their contexts
WORKLOADS = {
    "nli": {"mean": 34.7, "sigma": 0.5, "longest": 128, "batch_size": 32},
    "nli-256": {"mean": 34.7, "sigma": 0.5, "longest": 128, "batch_size": 256},
    "qa": {"mean": 216.0, "sigma": 0.41, "longest": 384, "batch_size": 32},
}
LORA = {"rank": 8, "alpha": 16, "dropout": 0.0}
KEYS = ("case", "device")
SHOWN = ("case", "ours_tokens_per_s", "compiled_tokens_per_s", "peer_tokens_per_s", "mfu", "ours_peak_mb", "failed")
SPECIALS = 6  # of a pair: <s> </s> </s> </s>, and the word boundary before each text


def texts(workload: dict, number: int, seed: int = 0) -> list[dict]:
    """Pairs of texts whose lengths in pieces of the character tokenizer are log-normal, cut at 8 and the longest."""
    import numpy as np

    from xstilts.models.tokenizers import characters

    letters = [piece for piece in characters().get_vocab() if len(piece) == 1 and unicodedata.category(piece) == "Lo"]
    letters = sorted(piece for piece in letters if unicodedata.normalize("NFKC", piece) == piece)
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(letters) + 1)
    mu = math.log(workload["mean"]) - workload["sigma"] ** 2 / 2
    lengths = np.clip(rng.lognormal(mu, workload["sigma"], number).round().astype(int), 8, workload["longest"])
    stream, found, start = rng.choice(letters, lengths.sum(), p=weights / weights.sum()), [], 0
    for index, length in enumerate(lengths.tolist()):
        drawn, start = "".join(stream[start : start + length - SPECIALS]), start + length
        cut = max(1, len(drawn) // 2)
        pair = {"text_a": drawn[:cut], "text_b": drawn[cut:]}
        found.append({"id": str(index), **pair, "label": LABELS[index % len(LABELS)]})
    return found


def job(name: str, workload: dict, steps: int, trainable: str) -> dict:
    """The spec of one training; its hyper-parameters change no speed."""
    hyper = {"learning_rate": 1e-5, "batch_size": workload["batch_size"], "max_steps": steps, "warmup": 0.1}
    hyper |= {"max_length": workload["longest"], "weight_decay": 0.01, "adam_epsilon": 1e-8, "max_grad_norm": 1.0}
    hyper |= {"schedule": "linear", "selection": "last", "restarts": 0}
    task = {"task": "mnli", "kind": "pair", "labels": LABELS, "options": {}, "languages": ["en"], "hyper": hyper}
    spec = {"stage": "target", "code": "benchmark", "model": {"name": name}, "intermediate": "none", "seed": 1}
    lora = {"lora": LORA} if trainable == "lora" else {}
    return {**spec, "precision": "bf16", "trainable": trainable, **lora, "tasks": [task]}


def gpu(
    models: dict = MODELS,
    workloads: dict = WORKLOADS,
    device: str = "cuda",
    results: Path = store.RESULTS,
    work: Path = store.WORK / "gpu",
    examples: int = EXAMPLES,
) -> list[dict]:
    """Measure every model on every workload; each row is written when it is there. Without a GPU: nothing, said."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        print("gpu: not measured: torch sees no CUDA device here")
        return []
    rows, trainer = [], sides.peer_is_there()
    for name, model in models.items():
        folder = random_weights.build(model["config"], work / name, None, model.get("dtype", "float32"), device)
        for workload, shape in workloads.items():
            place = work / f"examples-{workload}"
            found = texts(shape, examples + DEV)
            for split, part in (("train", found[DEV:]), ("dev", found[:DEV])):
                path = place / "mnli" / "en" / f"{split}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
            rows.append(_measure(name, model, folder, workload, shape, place, device, trainer))
            store.replace("gpu", rows[-1:], KEYS, results)
            print(
                f"gpu: {json.dumps({k: v for k, v in rows[-1].items() if k not in ('machine', 'versions')})}",
                flush=True,
            )
        shutil.rmtree(folder)  # XXL takes 20 GB
    return rows


def _measure(name, model, folder, workload, shape, place, device, trainer) -> dict:
    """One row: ours, ours compiled, Trainer; a side that fails (memory) has its reason in `failed`."""
    from tokenizers import Tokenizer

    trainable, steps = model.get("trainable", "all"), model["steps"]
    spec = job(name, shape, steps, trainable)
    features = place / "features.json"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = [json.loads(line) for line in (place / "mnli" / "en" / "train.jsonl").read_text("utf-8").splitlines()]
    facts = sides.features(features, spec["tasks"][0], rows, tokenizer)
    peer = {"model": str(folder), "kind": "pair", "labels": len(LABELS), "features": str(features), "steps": steps}
    peer |= {"pad_to": shape["longest"], "batch_size": shape["batch_size"], "learning_rate": 1e-5, "seed": 1}
    peer |= {"bf16": True, "gradient_checkpointing": model.get("checkpointing", False), "device": device}
    threads = 1 if device == "cpu" else 8
    runs = {"ours": lambda: sides.ours(spec, folder, place, threads, device)}
    if device != "cpu":
        runs["compiled"] = lambda: sides.ours(spec, folder, place, threads, device, ["--compile"])
    if trainer and trainable == "all":
        runs["peer"] = lambda: sides.peer(peer, threads)
    found, failed = {}, {}
    for side, run in runs.items():
        try:
            found[side] = run()
        except sides.Failed as error:
            failed[side] = str(error)

    def of(side: str, key: str):
        return found.get(side, {}).get(key)

    ours, other = of("ours", "tokens_per_s"), of("peer", "tokens_per_s")
    ratio = round(ours / other, 2) if ours and other else None
    mfu = of("ours", "mfu")
    return {
        "case": f"{name}-{workload}",
        "layers": model["config"]["num_hidden_layers"],
        "model": name,
        "trainable": trainable,
        "kind": "pair",
        "precision": "bf16",
        "batch_size": shape["batch_size"],
        "pad_to": shape["longest"],
        **facts,
        "steps": steps,
        "ours_tokens": [of("ours", "tokens")] if of("ours", "tokens") else [],
        "tokens_per_s": ours,  # under this name `xstilts cost --rates` reads it
        "ours_tokens_per_s": ours,
        "compiled_tokens_per_s": of("compiled", "tokens_per_s"),
        "peer_tokens_per_s": other,
        "ratio": ratio,
        "mfu": mfu,
        "peer_mfu": round(mfu / ratio, 4) if mfu and ratio else None,
        "peak_flops_per_s": of("ours", "peak_flops_per_s"),
        "ours_peak_mb": of("ours", "peak_memory_mb"),
        "peer_peak_mb": of("peer", "peak_memory_mb"),
        "failed": failed,
        "device": of("ours", "device") or of("peer", "device") or device,
        "machine": store.machine(),
        "versions": store.versions(),
    }


def main() -> None:
    """A part of it, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--results", type=Path, default=store.RESULTS, help="folder of gpu.json")
    parser.add_argument("--work", type=Path, default=store.WORK / "gpu", help="folder of the models: up to 22 GB")
    a = parser.parse_args()
    chosen = {name: MODELS[name] for name in a.models}, {name: WORKLOADS[name] for name in a.workloads}
    gpu(*chosen, results=a.results, work=a.work)


if __name__ == "__main__":
    main()
