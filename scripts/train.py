"""Fine-tune an encoder on English data: an intermediate task or mixture, or one target's training task."""

import argparse
from pathlib import Path

from xstilts import job


def main() -> None:
    """Read the command line, then do the work in `xstilts.training.launch`."""
    parser = job.parser(
        __doc__,
        ("model", "folder of the base model: config.json, model.safetensors, tokenizer.json"),
        ("encoder", "folder of the intermediate checkpoint that a target starts from (spec: intermediate not `none`)"),
        ("examples", "folder of prepared examples: TASK/LANGUAGE/train.jsonl and dev.jsonl"),
        ("out", "folder to write model.safetensors, config.json and train.json to"),
    )
    parser.add_argument("--work", type=Path, default=Path("work"), help="where states and encodings are kept (work)")
    group = parser.add_argument_group(
        "how fast, in how much memory (docs/training.md); the default is the model's `runtime` in catalog/models/, else"
    )
    group.add_argument(
        "--tokens-per-batch",
        type=int,
        help="most tokens computed at once, padding included (16,384 on a GPU, 2,048 on a CPU, or what fits)",
    )
    group.add_argument(
        "--strategy",
        choices=["auto", "one", "ddp", "fsdp"],
        help="one device; ddp: whole weights on several; fsdp: shares of them (auto: as the memory asks)",
    )
    group.add_argument(
        "--devices", type=int, help="how many devices (one if the model fits it, else all GPUs; in a workflow one)"
    )
    group.add_argument("--prefetch", type=int, help="batches prepared ahead by a thread (4 on a GPU, 0 on a CPU)")
    flag = argparse.BooleanOptionalAction
    group.add_argument(
        "--gradient-checkpointing",
        action=flag,
        help="compute blocks again in the backward pass (where the memory asks for it)",
    )
    group.add_argument("--compile", action=flag, help="torch.compile, on a GPU (no)")
    group.add_argument("--trim", action=flag, help="train only the word embeddings that the data can touch (yes)")
    arguments = parser.parse_args()

    def work() -> None:
        from xstilts.training import launch

        launch.train(arguments)

    job.run(arguments, work)
    from xstilts.models import runtime

    runtime.leave()


if __name__ == "__main__":
    main()
