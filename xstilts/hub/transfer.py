"""Bytes from an address into a file: tries, waits, and going on after a cut.

`huggingface_hub` starts a download anew in every process, gives its data to the file in pieces of 10 MB, and repeats
requests with waits of its own. Here a file grows as `<name>.part`, so that a killed process loses nothing, and every
repetition is said. Sessions, proxies and the meaning of the hub's answers are the library's.
"""

from __future__ import annotations

import email.utils
import fcntl
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from xstilts.errors import UserError

ATTEMPTS = 5  # in a row without a new byte
LONGEST_WAIT = 300.0  # seconds; the hub's limits count in windows of five minutes
SLICE = 0.5  # seconds at most between two looks, while waiting, at whether to stop
SAY_EVERY = 10.0  # seconds between two lines of progress
Result = TypeVar("Result")
Progress = Callable[[int], None]


class Unexpected(Exception):
    """The server offers another number of bytes than the lock names."""


class Incomplete(Exception):
    """An answer ended early, or continues the file elsewhere: the next request goes on from what is there."""


def say(text: str) -> None:
    """One line to the user, on stderr."""
    print(text, file=sys.stderr, flush=True)


def check_settings() -> None:
    """UserError where a variable of this module holds no number: before anything is asked or repeated."""
    timeout()
    scale()


def timeout() -> float:
    """Seconds without an answer or a byte that count as a failure: HF_HUB_DOWNLOAD_TIMEOUT, else the library's 10."""
    return _seconds("HF_HUB_DOWNLOAD_TIMEOUT", 10) or 10


def scale() -> float:
    """Factor of all waits: XSTILTS_RETRY_WAIT (seconds before the first repetition), else 1."""
    return _seconds("XSTILTS_RETRY_WAIT", 1)


def _seconds(variable: str, default: float) -> float:
    text = os.environ.get(variable) or str(default)
    with suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return float(text)
    raise UserError(f"{variable}={text}: allowed: a number of seconds from 0 on, such as {default}. Mend or unset it")


def transient(error: Exception) -> bool:
    """Whether the same request may succeed later: 408, 429, 5xx, timeouts, and refused or cut connections."""
    import httpx2

    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return status in (408, 429) or status >= 500
    kinds = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ProxyError)
    return isinstance(error, (*kinds, Incomplete))


def repeat(
    call: Callable[[], Result],
    what: str,
    reached: Callable[[], int] = lambda: 0,
    waiting: Callable[[], None] = lambda: None,
) -> Result:
    """Result of `call`, which is repeated after transient errors; the last error is raised after ATTEMPTS in a row.

    `reached`: bytes held so far; an attempt that brought new ones begins the count again, so that a long transfer
    over a poor line ends well. Waits double from XSTILTS_RETRY_WAIT (seconds, default 1); the server's own are obeyed.
    `waiting` is called every SLICE seconds of a wait: what it raises ends the wait.
    """
    tries, furthest = 0, reached()
    while True:
        try:
            return call()
        except Exception as error:
            if not transient(error):
                raise
            tries = 1 if reached() > furthest else tries + 1
            furthest = max(furthest, reached())
            if tries >= ATTEMPTS:
                raise
            seconds = _wait(error, tries)
            say(f"{what}: {reason(error)}; trying again in {seconds:.3g} s (attempt {tries + 1} of {ATTEMPTS})")
            end = time.monotonic() + seconds
            waiting()
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, SLICE))
                waiting()


def reason(error: Exception) -> str:
    """What happened, in a few words."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code} {response.reason_phrase}".strip()
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else 'no answer'}"


def _wait(error: Exception, tries: int) -> float:
    from huggingface_hub.utils import parse_ratelimit_headers

    seconds = 2.0 ** (tries - 1)
    response = getattr(error, "response", None)
    if response is not None:
        asked = response.headers.get("Retry-After", "").strip()
        limit = parse_ratelimit_headers(response.headers)
        if asked.isdigit():
            seconds = float(asked)
        elif asked:
            with suppress(ValueError):
                seconds = max(email.utils.parsedate_to_datetime(asked).timestamp() - time.time(), seconds)
        elif response.status_code == 429 and limit is not None and limit.remaining == 0:
            seconds = float(limit.reset_in_seconds)
    return min(seconds, LONGEST_WAIT) * scale()


# ---- one file
def fetch(
    url: str,
    target: Path,
    what: str,
    headers: dict[str, str],
    size: int | None = None,
    check: Callable[[Path], None] = lambda part: None,
    progress: Progress | None = None,
) -> Path:
    """Download `url` to `target`, going on from `<target>.part`; `check` sees the complete part before it is renamed.

    `size`: the expected bytes; without it a part is continued only if the server says by its ETag that the content is
    the one that the part began with. `progress` gets numbers of bytes that add up to the file's size, negative ones
    where a part had to be given up, 0 while a repetition is waited for; what it raises ends the transfer. None: a line
    on stderr every SAY_EVERY seconds. Errors: those of `check`, of the HTTP library, of the disk, and `Unexpected`. The
    part is kept where another run can go on from it.
    """
    progress = progress or _lines(what, size)
    with _part(target) as handle:
        if handle is None:  # another process has completed it meanwhile
            check(target)
            progress(target.stat().st_size)
            return target
        part, begun = Path(handle.name), handle.tell()

        def receive() -> None:
            receive_once = partial(_receive, url, handle, headers, size, progress)
            repeat(receive_once, what, handle.tell, lambda: progress(0))

        progress(begun)
        try:
            if size is not None and begun > size:
                _cut(handle, 0, progress)
            if handle.tell() != size:
                receive()
            try:
                check(part)
            except UserError:
                if not begun:
                    raise
                say(f"{what}: the kept beginning does not fit, downloading the whole file")
                _cut(handle, 0, progress)
                receive()
                check(part)
            os.fsync(handle.fileno())
            os.replace(part, target)
        except BaseException as error:
            # what the server sent is wrong; what was kept before may still fit
            if isinstance(error, (UserError, Unexpected)):
                _cut(handle, begun if isinstance(error, Unexpected) else 0, progress)
            if not handle.tell():
                part.unlink(missing_ok=True)
                _mark(part).unlink(missing_ok=True)
            raise
        _mark(part).unlink(missing_ok=True)
    return target


def _mark(part: Path) -> Path:
    """File that holds the ETag of the content that a part was begun with."""
    return part.with_name(f"{part.name.removesuffix('.part')}.etag.part")


@contextmanager
def _part(target: Path) -> Iterator[BinaryIO | None]:
    """Open `<target>.part` at its end for this process alone. None: while waiting, another one completed `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    waited = False
    while True:
        with open(part, "ab") as handle:
            # a file system without locks: writers are then told apart by the check of the content
            with suppress(OSError):
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    waited = True
                    say(f"{part}: another process is downloading this file, waiting for it")
                    fcntl.flock(handle, fcntl.LOCK_EX)
            if part.exists() and os.path.samestat(part.stat(), os.fstat(handle.fileno())):
                if waited and target.exists():
                    part.unlink()
                    yield None
                else:
                    yield handle
                return


def _cut(handle: BinaryIO, size: int, progress: Progress) -> None:
    """Keep at most `size` bytes of the part."""
    if handle.tell() > size:
        progress(size - handle.tell())
        handle.truncate(size)
        handle.seek(size)


def _receive(url: str, handle: BinaryIO, headers: dict, size: int | None, progress: Progress) -> None:
    """One request; what arrives is added to the part at once."""
    from huggingface_hub.utils import get_session, hf_raise_for_status

    mark, headers = _mark(Path(handle.name)), {**headers, "Accept-Encoding": "identity"}
    if size is None and handle.tell() and not mark.exists():
        _cut(handle, 0, progress)
    if handle.tell():
        headers["Range"] = f"bytes={handle.tell()}-"
        if size is None:
            headers["If-Range"] = mark.read_text()
    with get_session().stream("GET", url, headers=headers, timeout=timeout(), follow_redirects=True) as response:
        whole = _whole(response)
        if response.status_code == 416 and whole == handle.tell() and size is None:
            return  # killed after the last byte and before the renaming
        if response.status_code == 416:
            raise Unexpected(f"the server has {whole} bytes, {handle.tell()} are here already")
        hf_raise_for_status(response)
        if size is not None and whole not in (None, size):
            raise Unexpected(f"the server has {whole} bytes, expected {size}")
        if response.status_code != 206:
            _cut(handle, 0, progress)
        elif handle.tell() and not response.headers.get("Content-Range", "").startswith(f"bytes {handle.tell()}-"):
            _cut(handle, 0, progress)
            raise Incomplete("the server continues the file at another place than asked")
        # a weak ETag says nothing about single bytes
        if size is None and not response.headers.get("ETag", "W/").startswith("W/"):
            mark.write_text(response.headers["ETag"])
        for chunk in response.iter_bytes():
            handle.write(chunk)
            handle.flush()
            progress(len(chunk))
            if size is not None and handle.tell() > size:
                raise Unexpected(f"the server sends more than the expected {size} bytes")
    known = size if size is not None else whole
    if known is not None and handle.tell() < known:
        raise Incomplete(f"the answer ended at {handle.tell()} of {known} bytes")


def _packed(response) -> bool:
    """Whether the body is compressed though this was not asked for: numbers of bytes are then not the file's."""
    return response.headers.get("Content-Encoding", "identity").lower() not in ("identity", "")


def _whole(response) -> int | None:
    """Bytes of the whole file as the server says it, None if it does not."""
    if _packed(response):
        return None
    text = response.headers.get("Content-Range", "").rpartition("/")[2] or response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _lines(what: str, size: int | None) -> Progress:
    """Progress as a line on stderr every SAY_EVERY seconds, for jobs whose output is a log."""
    done, last = 0, time.monotonic()

    def add(count: int) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last >= SAY_EVERY:
            last = time.monotonic()
            say(f"{what}: {done / 1e6:.1f} MB" + (f" of {size / 1e6:.1f} MB" if size else ""))

    return add
