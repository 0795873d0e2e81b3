"""Fine-tune an encoder on English data: an intermediate task or mixture, or one target's training task."""

from pathlib import Path

from xstilts import job


def main() -> None:
    """Read the command line, then do the work in `xstilts.training.loop`."""
    parser = job.parser(__doc__, "model", "encoder", "examples", "out")
    parser.add_argument("--work", type=Path, default=Path("work"), help="where the state of a killed run is kept")
    parser.add_argument("--tokens-per-batch", type=int, default=0, help="most tokens computed at once (0: default)")
    arguments = parser.parse_args()

    def work() -> None:
        from xstilts.training import loop

        a = arguments
        tokens = a.tokens_per_batch or loop.TOKENS_PER_BATCH
        loop.train(a.spec, a.model, a.encoder, a.examples, a.out, a.device, tokens, a.work)

    job.run(arguments, work)
    from xstilts.models import runtime

    runtime.leave()


if __name__ == "__main__":
    main()
