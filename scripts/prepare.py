"""Prepare one task: examples/<task>/<language>/<split>.jsonl and gold/<task>/test-<language>.{tsv,json}.

--data-root and --licensed default to XSTILTS_DATA_ROOT and XSTILTS_LICENSED, which the workflow sets, --revisions to
catalog/revisions.lock.
"""

import os

from xstilts import job
from xstilts.data.prepare import prepare


def main() -> None:
    arguments = job.parser(__doc__, "examples", "gold", "data-root", "revisions", "licensed").parse_args()
    data_root = arguments.data_root or os.environ.get("XSTILTS_DATA_ROOT")
    licensed = arguments.licensed or os.environ.get("XSTILTS_LICENSED")

    def work() -> None:
        places = (arguments.examples, arguments.gold, data_root, arguments.revisions, licensed)
        for (language, split), counts in prepare(arguments.spec, *places).items():
            found = ", ".join(f"{name} {number}" for name, number in sorted(counts.items()) if number)
            print(f"{arguments.spec['task']} {language} {split}: {found}")

    job.run(arguments, work)


if __name__ == "__main__":
    main()
