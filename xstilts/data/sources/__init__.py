"""Where examples come from: local files, the hub, the embedded generator, a licensed path.

Each module has `read(request) -> iterator of (where, row)`: `where` names the row in error messages ("file:line"),
`row` has the source's own field names or is normalised already (xstilts/data/examples.py makes examples of both).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xstilts.errors import UserError
from xstilts.hub import parts

NAMES = ("local", "hub", "embedded", "licensed")


@dataclass(frozen=True)
class Request:
    """One read of one part of a source: what the job's identity says, and where this machine keeps things."""

    task: str
    kind: str
    options: dict
    part: dict
    language: str
    split: str  # the source's name of the split
    rows: int | None  # rows that are enough (the generator makes no more); None: all
    seed: int
    data_root: Path | None = None
    revisions: Path | None = None
    licensed: Path | None = None
    language_names: dict | None = None  # code -> English name; None: as in catalog/languages.yaml

    @property
    def code(self) -> str:
        """The source's code of the language: the part's `codes`, else our own."""
        return str((self.part.get("codes") or {}).get(self.language, self.language))

    def fill(self, template: str) -> str:
        """Fill {language}, {code} and {language_name} (English, capitalised) in a part's `config` or `folder`."""
        names = self.language_names
        languages = {code: {"name": name} for code, name in names.items()} if names else None
        return parts.fill(template, self.part, self.language, languages)


def read(source: str, request: Request) -> Iterator[tuple[str, dict]]:
    """(where, row) of one part, language and split."""
    if source not in NAMES:
        raise UserError(f"source {source!r} is unknown; allowed: {', '.join(NAMES)}")
    return importlib.import_module(f"xstilts.data.sources.{source}").read(request)
