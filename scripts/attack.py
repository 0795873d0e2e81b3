"""Attack one trained cell on all its targets and languages -> one row of outcome an example, and the job's timings."""

from xstilts import job


def main() -> None:
    """Read the command line, then do the work in `xstilts.robustness.attack`."""
    parser = job.parser(
        __doc__,
        ("results", "the study's folder: examples, models, encoders, targets are found below it"),
        "out",
        "cost",
        ("work", "folder of what a killed job goes on from"),
    )
    parser.add_argument("--processes", type=int, default=1, help="processes that share the examples and the threads")
    parser.add_argument("--shard", help="I/N: part I of N alone, no rows are written (the job starts such processes)")
    arguments = parser.parse_args()

    def work() -> None:
        from xstilts.robustness.attack import run

        a = arguments
        shard = tuple(int(part) for part in a.shard.split("/")) if a.shard else None
        run(a.spec, a.results, a.out, a.cost, a.work, a.processes, a.threads, a.device, shard)

    job.run(arguments, work)
    from xstilts.models import runtime

    runtime.leave()


if __name__ == "__main__":
    main()
