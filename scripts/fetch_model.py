"""Fetch one pretrained model into a folder: model.safetensors, config.json, tokenizer.json, model.json.

--data-root (a folder that `xstilts fetch` filled is read before the network) defaults to XSTILTS_DATA_ROOT, which the
workflow sets, --revisions to catalog/revisions.lock, --cache (of wheels) to XSTILTS_CACHE.
"""

import os

from xstilts import job


def main() -> None:
    arguments = job.parser(__doc__, "out", "cache", "data-root", "revisions").parse_args()
    data_root = arguments.data_root or os.environ.get("XSTILTS_DATA_ROOT")

    def work() -> None:
        from xstilts.models.fetch import fetch

        fetch(arguments.spec, arguments.out, arguments.cache, data_root, arguments.revisions)

    job.run(arguments, work)


if __name__ == "__main__":
    main()
