"""Check a study's data: data.csv (balance, duplicates, leaks, lengths) and pieces.csv (what tokenizers make of it).

python scripts/check_data.py --spec SPEC --examples results/STUDY/examples --models results/STUDY/models --out DIR
"""

from xstilts import job


def main() -> None:
    """Read the command line, then do the work in `xstilts.datasheet.run`."""
    arguments = job.parser(__doc__, "examples", "models", "out").parse_args()

    def work() -> None:
        from xstilts.datasheet.run import check_data

        for name, rows in check_data(arguments.spec, arguments.examples, arguments.models, arguments.out).items():
            print(f"{name}.csv: {len(rows)} rows")

    job.run(arguments, work)


if __name__ == "__main__":
    main()
