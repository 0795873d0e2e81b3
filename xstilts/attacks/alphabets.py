"""Letters of each language, as grapheme clusters (catalog/alphabets.yaml): what is inserted and substituted."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from xstilts.attacks.segmentation import graphemes
from xstilts.errors import UserError
from xstilts.schema import ROOT, read_yaml, validate

FILE = ROOT / "catalog" / "alphabets.yaml"


def load(path: Path = FILE) -> dict[str, list[str]]:
    """Language code -> its letters, each one grapheme cluster. Raises UserError for a file that breaks this."""
    found = {}
    for code, text in validate(read_yaml(path), "alphabets", path)["alphabets"].items():
        found[code] = text.split()
        for letter in found[code]:
            if len(graphemes(letter)) != 1 or found[code].count(letter) > 1:
                raise UserError(
                    f"{path}: alphabets.{code}: {letter!r} is given twice or is more than one letter. Allowed: single "
                    "letters (grapheme clusters) apart by spaces, each once. Next: mend the file."
                )
    return found


@cache
def of(language_code: str, path: Path = FILE) -> list[str]:
    """The letters of one language; [] where the file has none. Read once: do not change the list."""
    return load(path).get(language_code, [])
