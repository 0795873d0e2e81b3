"""Fetch one pretrained model into a folder: model.safetensors, config.json, tokenizer.json, model.json."""

from xstilts import job


def main() -> None:
    arguments = job.parser(__doc__, "out", "cache").parse_args()

    def work() -> None:
        from xstilts.models.fetch import fetch

        fetch(arguments.spec, arguments.out, arguments.cache)

    job.run(arguments, work)


if __name__ == "__main__":
    main()
