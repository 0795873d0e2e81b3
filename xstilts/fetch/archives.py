"""BUCC's archives: members `<language>-en.<split>.<language|en|gold>` of a tar.bz2 become pools of JSON lines.

Members are read as a stream, line by line. Nothing is unpacked by a name that the archive gives.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from xstilts.errors import UserError
from xstilts.fetch.convert import Lines
from xstilts.fetch.plan import Item
from xstilts.hub import client

LONGEST = 1 << 20  # bytes of a line: a sentence has far fewer


def unpack(archive: Path, items: list[Item], out: Path, watch: Callable[[Iterable], Iterable]) -> dict[str, dict]:
    """Path -> manifest row of the items, all of this archive, at `out / item.path`; `watch` as in `convert.data`.

    UserError: a damaged archive, a member that is not there, a line that is no id, TAB and text (or second id).
    """
    url = items[0].origin["url"]
    try:
        return _members(archive, items, out, watch)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # of this machine (disk full): bz2's own errors have no number
        reason = f"{url}: not a whole tar.bz2 archive ({error or type(error).__name__})"
        raise UserError(f"{reason}. {_set_aside(archive)} {_by_hand(items)}") from error
    except UserError as error:
        raise UserError(f"{error} {_set_aside(archive)} {_by_hand(items)}") from error


def _members(archive: Path, items: list[Item], out: Path, watch) -> dict[str, dict]:
    wanted, found, others = {item.origin["member"]: item for item in items}, {}, []
    url, digest = items[0].origin["url"], client.digest(archive)
    with tarfile.open(archive, "r|bz2") as members:
        for member in members:
            name = PurePosixPath(member.name).name
            if name not in wanted or not member.isreg():
                others.append(member.name)
                continue
            item = wanted.pop(name)
            with Lines(out / item.path) as lines:
                for value in watch(_rows(members.extractfile(member), item, f"{url}: {member.name}")):
                    lines.add(value)
            found[item.path] = lines.entry(item, digest)
    if wanted:
        has = ", ".join(others[:8]) or "nothing else"
        raise UserError(f"{url}: no member {', '.join(wanted)} (it has: {has}).")
    return found


def _rows(handle: IO[bytes], item: Item, where: str) -> Iterator[dict]:
    """Rows of one member: {id, sentence} of a pool, {source_id, target_id} of the gold pairs, as `fields` name them."""
    fields, gold = item.source["fields"], item.source["side"] == "gold"
    keys = (fields["source_id"], fields["target_id"]) if gold else (fields["id"], fields["text"])
    number = 0
    while line := handle.readline(LONGEST):
        number += 1
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(f"{where}:{number}: not UTF-8: {error}.") from error
        if not text:
            continue
        first, tab, second = text.partition("\t")
        if not (tab and first.strip() and second.strip()) or (gold and "\t" in second) or len(line) == LONGEST:
            shape = "two ids with a TAB between" if gold else "an id, a TAB and a sentence"
            raise UserError(f"{where}:{number}: {text[:80]!r} is not {shape}.")
        yield {keys[0]: first, keys[1]: second}


def _set_aside(archive: Path) -> str:
    """Rename an archive that is of no use, so that the next run downloads it again; it may be the user's own copy."""
    refused = archive.with_name(f"{archive.name}.refused")
    os.replace(archive, refused)
    return f"It is now {refused}, and the same command downloads it again."


def _by_hand(items: list[Item], language: str | None = None) -> str:
    """What to do where an archive (or those of all languages) is of no use."""
    folder = PurePosixPath(items[0].path).parent
    folder = folder.parent / language if language else folder
    return (
        f"Next: put the pools into {folder}/ of the fetched folder yourself, from another copy of the shared task's "
        f"files (docs/data.md, BUCC 2018), or leave {', '.join(items[0].users)} out of `targets`"
    )


def gone(items: list[Item]) -> str:
    """What to do where an archive's host does not answer; to be added to the client's message."""
    return f" The catalog names no other host. {_by_hand(items, '<language>')}"
