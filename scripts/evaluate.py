"""Predict all test sets that one trained checkpoint serves -> XTREME submission files and the job's timings."""

from pathlib import Path

from xstilts import job


def main() -> None:
    """Read the command line, then do the work in `xstilts.evaluation.evaluate`."""
    parser = job.parser(__doc__, "model", "checkpoint", "examples", "out", "cost")
    parser.add_argument("--work", type=Path, default=Path("work"), help="where encodings are kept for other jobs")
    arguments = parser.parse_args()

    def work() -> None:
        from xstilts.evaluation.evaluate import evaluate

        a = arguments
        evaluate(a.spec, a.model, a.checkpoint, a.examples, a.out, a.cost, a.device, a.work)

    job.run(arguments, work)
    from xstilts.models import runtime

    runtime.leave()


if __name__ == "__main__":
    main()
