"""Put the adversarial texts that an attack found on one cell to another cell -> one row of outcome an example."""

from xstilts import job


def main() -> None:
    """Read the command line, then do the work in `xstilts.robustness.transfer`."""
    arguments = job.parser(__doc__, "results", "out", "cost").parse_args()

    def work() -> None:
        from xstilts.robustness.transfer import run

        a = arguments
        run(a.spec, a.results, a.out, a.cost, a.device)

    job.run(arguments, work)
    from xstilts.models import runtime

    runtime.leave()


if __name__ == "__main__":
    main()
