"""Prepare one task: examples/<task>/<language>/<split>.jsonl and gold/<task>/test-<language>.{tsv,json}."""

from xstilts import job
from xstilts.data.prepare import prepare


def main() -> None:
    arguments = job.parser(__doc__, "examples", "gold", "data-root", "revisions", "licensed").parse_args()

    def work() -> None:
        places = (arguments.examples, arguments.gold, arguments.data_root, arguments.revisions, arguments.licensed)
        for (language, split), counts in prepare(arguments.spec, *places).items():
            found = ", ".join(f"{name} {number}" for name, number in sorted(counts.items()) if number)
            print(f"{arguments.spec['task']} {language} {split}: {found}")

    job.run(arguments, work)


if __name__ == "__main__":
    main()
