"""Attack one trained cell on all its targets and languages -> one row of outcome an example, and the job's timings."""

from xstilts import job


def main() -> None:
    """Read the command line, then do the work in `xstilts.evaluation.attack`."""
    arguments = job.parser(__doc__, "model", "encoder", "targets", "examples", "out", "cost").parse_args()

    def work() -> None:
        from xstilts.evaluation.attack import run

        a = arguments
        run(a.spec, a.model, a.encoder, a.targets, a.examples, a.out, a.cost, a.device)

    job.run(arguments, work)
    from xstilts.models import runtime

    runtime.leave()


if __name__ == "__main__":
    main()
