"""The peer: fine-tuning with a plain Hugging Face Trainer, as the example scripts of transformers do it.

    python -m benchmarks.peer JOB.json

JOB.json: `model` (a Hugging Face folder), `kind` (pair, tagging, span_qa), `labels` (how many), `features` (a JSON list
of {input_ids, and label | labels | start, end}), `pad_to` (every sequence is padded to so many pieces), `batch_size`,
`steps`, `learning_rate`, `seed`, `bf16`, `gradient_checkpointing`, `device` (cpu or cuda), `threads`, `scratch`, `out`.
Nothing but these is changed from Trainer's defaults, other than that it writes no checkpoint.

`out` gets: tokens (real ones, of the steps), examples, steps, seconds (of the steps), tokens_per_s, losses,
peak_memory_mb (CPU: of the process; GPU: allocated), device, versions.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

KEYS = {"label": "labels", "start": "start_positions", "end": "end_positions"}
IGNORED = -100  # of labels where there is nothing to learn


def padded(feature: dict, width: int, pad_id: int) -> dict:
    """The inputs of one feature, filled to `width` pieces."""
    ids = feature["input_ids"]
    fill = width - len(ids)
    found = {"input_ids": ids + [pad_id] * fill, "attention_mask": [1] * len(ids) + [0] * fill}
    if "labels" in feature:
        found["labels"] = feature["labels"] + [IGNORED] * fill
    return found | {name: feature[key] for key, name in KEYS.items() if key in feature}


def train(job: dict) -> dict:
    """Train as `job` says and return what was measured."""
    if job["device"] == "cuda":  # one of several would else be used as DataParallel
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    import torch

    if job.get("threads"):
        torch.set_num_threads(job["threads"])
    from transformers import (
        AutoModelForQuestionAnswering,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        set_seed,
    )

    rows = json.loads(Path(job["features"]).read_text(encoding="utf-8"))
    classes = {
        "pair": AutoModelForSequenceClassification,
        "tagging": AutoModelForTokenClassification,
        "span_qa": AutoModelForQuestionAnswering,
    }
    set_seed(job["seed"])
    labels = {} if job["kind"] == "span_qa" else {"num_labels": job["labels"]}
    # float32 whatever the file holds: Trainer's bf16 is autocast over float32 weights
    model = classes[job["kind"]].from_pretrained(job["model"], dtype=torch.float32, **labels)
    order: list[int] = []
    losses: list[float] = []
    clock: dict[str, float] = {}
    wait = torch.cuda.synchronize if job["device"] == "cuda" else lambda: None

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return len(rows)

        def __getitem__(self, number):
            order.append(number)
            return padded(rows[number], job["pad_to"], model.config.pad_token_id or 0)

    class Clock(TrainerCallback):
        def on_train_begin(self, *_, **__):
            wait()
            clock["start"] = time.perf_counter()

        def on_step_end(self, arguments, state, *_, **__):
            if state.global_step == job["steps"]:
                wait()
                clock["end"] = time.perf_counter()

        def on_log(self, arguments, state, control, logs=None, **__):
            losses.extend([logs["loss"]] if logs and "loss" in logs else [])

    arguments = TrainingArguments(
        output_dir=job["scratch"],
        max_steps=job["steps"],
        per_device_train_batch_size=job["batch_size"],
        learning_rate=job["learning_rate"],
        bf16=job["bf16"],
        gradient_checkpointing=job["gradient_checkpointing"],
        gradient_checkpointing_kwargs={"use_reentrant": False} if job["gradient_checkpointing"] else None,
        use_cpu=job["device"] == "cpu",
        seed=job["seed"],
        logging_steps=max(1, min(50, job["steps"] // 4)),
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    Trainer(model=model, args=arguments, train_dataset=Rows(), callbacks=[Clock()]).train()
    # batches may be fetched ahead: what was trained on is what was drawn first
    used = order[: job["steps"] * job["batch_size"]]
    tokens, seconds = sum(len(rows[number]["input_ids"]) for number in used), clock["end"] - clock["start"]
    if job["device"] == "cuda":
        memory, name = torch.cuda.max_memory_allocated() // 2**20, torch.cuda.get_device_name()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory, name = peak // (2**20 if sys.platform == "darwin" else 2**10), "cpu"
    return {
        "tokens": tokens,
        "examples": len(used),
        "steps": job["steps"],
        "seconds": round(seconds, 2),
        "tokens_per_s": round(tokens / seconds, 1),
        "losses": losses,
        "peak_memory_mb": memory,
        "device": name,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Read the job, train, write what was measured."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(job["out"]).write_text(json.dumps(train(job)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
