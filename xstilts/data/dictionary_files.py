"""Where the files of bilingual dictionaries lie below a data folder; planning asks, so nothing else is imported."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FOLDERS = ("dict_muse", "dict_panlex", "dict_xling_eval")  # below a data folder; an earlier one is preferred
ENDS = (".tsv", ".txt")


def available(folder: str | Path, pairs: Iterable[str]) -> dict[str, Path]:
    """The files of `pairs` ("en-de") below a data folder: {pair: path}; a pair without a file is left out.

    `dict_<name>/<source>/<source>-<target>.tsv` or `dict_<name>/<source>-<target>.txt` (either ending in either place),
    in the order of `FOLDERS`. Where only the reverse of a pair is there, the reverse is returned.
    """
    found = {}
    for pair in pairs:
        source, _, target = pair.partition("-")
        for one, two in ((source, target), (target, source)):
            name = f"{one}-{two}"
            places = (Path(folder, at, *below, name + end) for at in FOLDERS for below in ((one,), ()) for end in ENDS)
            path = next((path for path in places if path.is_file()), None)
            if path:
                found[name] = path
                break
    return found
