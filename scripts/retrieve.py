"""Retrieve sentences with an encoder -> submission files of Tatoeba and BUCC, scores by layer, the job's timings."""

from pathlib import Path

from xstilts import job


def main() -> None:
    """Read the command line, then do the work in `xstilts.evaluation.retrieve`."""
    parser = job.parser(__doc__, "model", "encoder", "examples", "out", "layers", "cost")
    parser.add_argument("--work", type=Path, default=Path("work"), help="where encodings are kept for other jobs")
    arguments = parser.parse_args()

    def work() -> None:
        from xstilts.evaluation.retrieve import retrieve

        a = arguments
        retrieve(a.spec, a.model, a.encoder, a.examples, a.out, a.layers, a.cost, a.device, a.work)

    job.run(arguments, work)
    from xstilts.models import runtime

    runtime.leave()


if __name__ == "__main__":
    main()
