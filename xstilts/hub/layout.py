"""Which files of a data set's repository are which split of which configuration: by the rules of `datasets` itself.

`datasets` is given a temporary folder with the repository's README.md and empty files of its names, and says what it
would read. So one small download answers for every configuration, nothing is guessed here, and nothing lands in the
user's cache. No other module imports `datasets`.
"""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from xstilts.errors import UserError
from xstilts.hub.lock import listed

# read as text by `datasets` when they are there; an empty one would be a broken one
_NOT_DATA = ("README.md", "dataset_infos.json", ".huggingface.yaml")
_NUMBERED = re.compile(r"(.*?)(?<!\d)(\d{5})-of-(\d{5})(?!\d)")
UNFINISHED = (
    "The upload was not finished, or the hub's list of files is cut: run `python -m xstilts pin` again later, or name "
    "another commit in catalog/candidates.yaml"
)


def splits(
    name: str, readme: str | None, paths: Iterable[str], configs: Iterable[str]
) -> dict[str, dict[str, list[str]]]:
    """Configuration -> split -> files in reading order, of a repository with these `paths` and this README.md.

    A repository that names no configuration has one, called "default". UserError: no parquet in it (a loading script is
    never run), a configuration that is not there (saying which are), files that are not parquet or not there, or a
    README.md that `datasets` cannot make sense of.
    """
    paths = sorted(paths)
    if not any(path.endswith(".parquet") for path in paths):
        raise UserError(f"{name}: {no_parquet(paths)}")
    with tempfile.TemporaryDirectory(prefix="xstilts-layout-") as folder:
        root = Path(folder).resolve()
        _skeleton(root, readme, paths, name)
        with _quiet():
            known, configs = _known(root, name), list(dict.fromkeys(configs))
            absent = [config for config in configs if config not in known]
            if absent:
                close = difflib.get_close_matches(absent[0], known, 1)
                raise UserError(
                    f"{name}: no configuration {listed(absent)}; it has {listed(known)}"
                    + (f" (did you mean {close[0]}?)" if close else "")
                )
            found = {config: _files(known[config], config, root, name) for config in configs}
    sets = numbered(paths)
    for config, splits_of in found.items():
        for split, files in splits_of.items():
            absent = lacking(files, sets)
            if absent:
                raise UserError(
                    f"{name}: configuration {config!r}, split {split!r}: {listed(absent, 4)} of its files are not "
                    f"there. {UNFINISHED}"
                )
    return found


def numbered(paths: Iterable[str]) -> dict[tuple[str, int], set[int]]:
    """(beginning of the names, how many belong together) -> the numbers that are there, of names NNNNN-of-MMMMM."""
    sets: dict[tuple[str, int], set[int]] = {}
    for path in paths:
        name = _NUMBERED.match(path)
        if name:
            sets.setdefault((name[1], int(name[3])), set()).add(int(name[2]))
    return sets


def lacking(chosen: Iterable[str], sets: dict[tuple[str, int], set[int]]) -> list[str]:
    """Beginnings of the names that a repository (`sets`: its `numbered` files) lacks of the sets that `chosen` are of.

    A configuration may choose some files of a set: only what is nowhere in the repository is lacking. Data count from
    0, weights from 1.
    """
    absent = []
    for begin, count in numbered(chosen):
        there = sets[begin, count]
        first = int(0 not in there and count in there)
        absent += [f"{begin}{n:05}-of-{count:05}" for n in range(first, first + count) if n not in there]
    return absent


def no_parquet(paths: Iterable[str]) -> str:
    """Why a repository without parquet files cannot be read, and what to do."""
    paths = list(paths)
    scripts = [path for path in paths if path.endswith(".py")]
    what = f"it holds {listed(paths, 5)}"
    if scripts:
        what = f"it is read by a loading script ({scripts[0]}), which is never run"
    return (
        f"no parquet file: {what}. Next: name another repository in catalog/tasks, or a commit of its branch "
        "refs/convert/parquet (`branch:` in catalog/candidates.yaml, `files:` in the task's part)"
    )


def _skeleton(root: Path, readme: str | None, paths: list[str], name: str) -> None:
    """Empty files of a repository's names; a name that leads out of the folder is refused."""
    if (readme or "").lstrip().startswith("---"):  # without metadata it says nothing, and the card's reader warns
        (root / "README.md").write_text(readme, encoding="utf-8")
    for path in paths:
        if path.startswith("/") or ".." in PurePosixPath(path).parts or "\0" in path:
            raise UserError(f"{name}: the repository lists a file {path!r}, which leads out of a folder: not read")
        if path not in _NOT_DATA:
            file = root / path
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
            except (OSError, ValueError) as error:  # a file and a folder of one name, a name that is too long
                why = getattr(error, "strerror", None) or error
                raise UserError(
                    f"{name}: a file of the name {path[:100]!r} cannot be made in {root.parent}: {why}. Free space "
                    "there (df -h, TMPDIR), or name another commit in catalog/candidates.yaml"
                ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of `datasets` (it shows one from 17 files on); the setting is the caller's again afterwards."""
    import datasets

    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not shown:
            datasets.enable_progress_bars()


def _known(root: Path, name: str) -> dict:
    """Configuration -> what `datasets` knows of it."""
    from datasets.load import LocalDatasetModuleFactory

    try:
        # what load_dataset_builder calls: asked once here, there once for each of google/xtreme's 183 configurations
        module = LocalDatasetModuleFactory(str(root)).get_module()
    except Exception as error:  # YAML's, the card reader's and `datasets`' own errors
        raise UserError(
            f"{name}: `datasets` finds no data set in its README.md and files: {_said(error, root)}"
        ) from error
    kind = module.module_path.rsplit(".", 1)[-1]
    if kind != "parquet":
        raise UserError(f"{name}: most of its files are read as {kind}; only parquet is read here")
    return {one.name: one for one in module.builder_configs_parameters.builder_configs}


def _files(known, config: str, root: Path, name: str) -> dict[str, list[str]]:
    from datasets import DownloadConfig

    try:
        known._resolve_data_files(str(root), DownloadConfig(local_files_only=True))
    except Exception as error:
        raise UserError(
            f"{name}: configuration {config!r} names files that are not there: {_said(error, root)}"
        ) from error
    found = {}
    for split, files in known.data_files.items():
        places = [Path(file) for file in files]
        strange = [place for place in places if place.suffix != ".parquet" or root not in place.parents]
        if strange:
            raise UserError(
                f"{name}: configuration {config!r}, split {split!r}: {strange[0].name} is no parquet file of it"
            )
        if not places:
            raise UserError(f"{name}: configuration {config!r}, split {split!r}: its files are not there")
        found[str(split)] = [place.relative_to(root).as_posix() for place in places]
    return found


def _said(error: Exception, root: Path) -> str:
    """An error of `datasets` in one line, without the temporary folder's name."""
    return " ".join(
        f"{type(error).__name__}: {error}".replace(f"{root}/", "").replace(str(root), "the repository").split()
    )[:300]
