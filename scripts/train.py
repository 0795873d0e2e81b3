"""Fine-tune an encoder on English data: an intermediate task or mixture, or one target's training task."""

import argparse
from pathlib import Path

from xstilts import job


def main() -> None:
    """Read the command line, then do the work in `xstilts.training.launch`."""
    parser = job.parser(__doc__, "model", "encoder", "examples", "out")
    parser.add_argument("--work", type=Path, default=Path("work"), help="where states and encodings are kept")
    group = parser.add_argument_group("how fast, in how much memory (default: the model's `runtime`, else as it fits)")
    group.add_argument("--tokens-per-batch", type=int, help="most tokens computed at once, padding included")
    group.add_argument("--strategy", choices=["auto", "one", "ddp", "fsdp"], help="one device, or several")
    group.add_argument("--devices", type=int, help="how many devices")
    group.add_argument("--prefetch", type=int, help="batches prepared ahead by a thread")
    flag = argparse.BooleanOptionalAction
    group.add_argument("--gradient-checkpointing", action=flag, help="compute blocks again in the backward pass")
    group.add_argument("--compile", action=flag, help="torch.compile, on a GPU")
    group.add_argument("--trim", action=flag, help="train only the word embeddings that the data can touch")
    arguments = parser.parse_args()

    def work() -> None:
        from xstilts.training import launch

        launch.train(arguments)

    job.run(arguments, work)
    from xstilts.models import runtime

    runtime.leave()


if __name__ == "__main__":
    main()
