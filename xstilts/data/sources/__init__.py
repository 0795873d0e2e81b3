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

    @property
    def code(self) -> str:
        """The source's code of the language: the part's `codes`, else our own."""
        return str((self.part.get("codes") or {}).get(self.language, self.language))

    def fill(self, template: str) -> str:
        """Fill {language}, {code} and {language_name} (English, capitalised) in a part's `config` or `folder`."""
        names = {"language": self.language, "code": self.code}
        if "{language_name}" in template:
            names["language_name"] = language_name(self.language)
        return template.format(**names)


def language_name(code: str) -> str:
    """The English name of a language in catalog/languages.yaml, which some hub configurations are named by."""
    import yaml

    # Read here and not through xstilts.catalog, whose every edit would then count as an edit of this stage.
    path = Path(__file__).resolve().parents[3] / "catalog" / "languages.yaml"
    languages = yaml.safe_load(path.read_text(encoding="utf-8"))
    if code not in languages:
        raise UserError(f"{path}: no language {code!r}; its English name is needed to find its data")
    return languages[code]["name"]


def read(source: str, request: Request) -> Iterator[tuple[str, dict]]:
    """(where, row) of one part, language and split."""
    if source not in NAMES:
        raise UserError(f"source {source!r} is unknown; allowed: {', '.join(NAMES)}")
    return importlib.import_module(f"xstilts.data.sources.{source}").read(request)
