"""`embedded`: examples of the generated mini-XTREME (xstilts/embedded), already normalised."""

from __future__ import annotations

from collections.abc import Iterator

from xstilts.data.sources import Request


def read(request: Request) -> Iterator[tuple[str, dict]]:
    """Generated examples of one language and split: `rows` of them (retrieval: pairs), None for the generator's own
    size. Equal requests give equal examples."""
    from xstilts import embedded

    generator = request.part["generator"]
    rows = embedded.generate(generator, request.language, request.split, request.rows, request.seed)
    for number, row in enumerate(rows):
        yield f"embedded {generator} {request.language} {request.split} row {number}", row
