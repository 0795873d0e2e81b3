"""What an answer of the hub means for the user: which file, what happened, and what to do next."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from xstilts.errors import UserError
from xstilts.hub import transfer

PIN = "`python -m xstilts pin`"
ELSEWHERE = (
    "run `python -m xstilts fetch STUDY --to DIR` on a machine with network and set data_root to a copy of that folder"
)
CHANGED = (
    "The file behind the pinned revision is not the one that was pinned, and it was not kept. Check HF_ENDPOINT and "
    f"proxies (a mirror may serve other files) and run the same command again; {PIN} takes the hub's present files"
)


class Subject(NamedTuple):
    """What was asked for, as messages name it."""

    kind: str
    name: str
    revision: str
    path: str | None = None

    def __str__(self) -> str:
        kind = "data set" if self.kind == "dataset" else self.kind
        return f"{kind} {self.name} at {self.revision}" + (f", file {self.path}" if self.path else "")

    def page(self, endpoint: str) -> str:
        """Address of the repository for a person."""
        return f"{endpoint}/datasets/{self.name}" if self.kind == "dataset" else f"{endpoint}/{self.name}"


class Address(NamedTuple):
    """A plain address and the file that it goes to."""

    url: str
    target: Path

    def __str__(self) -> str:
        return self.url


class Refused(UserError):
    """A request that failed. The message is `subject: reason`; `reason` names no file, so that equal ones can be told
    once. `server`: the address (scheme://host:port) that was asked, None where none was."""

    def __init__(self, subject: Subject | Address | str, reason: str, more: str = "", server: str | None = None):
        super().__init__(f"{subject}: {reason}{more}")
        self.reason, self.server = reason, server


class Unreachable(Refused):
    """Nothing answers at `server`: the next file of it would only wait again."""


class Offline(Refused):
    """HF_HUB_OFFLINE forbids to ask."""


def explain(error: Exception, subject: Subject | Address, endpoint: str, part: Path | None = None) -> Refused:
    """The error to raise for a failed request. `part`: the unfinished file, mentioned if some of it was kept."""
    more, kind = "", Refused
    if part is not None and part.is_file() and part.stat().st_size:
        more = f" ({part.stat().st_size} bytes are kept in {part}; the same command goes on from there.)"
    if dead(error):
        kind = Unreachable
    elif type(error).__name__ == "OfflineModeIsEnabled":
        kind = Offline
    if isinstance(subject, Address) and not _disk(error):
        more = f" {_by_hand(subject)}{more}"
    server = server_of(error) or (endpoint if isinstance(subject, Subject) else _origin(subject.url))
    return kind(subject, _why(error, subject, endpoint, server), more, server)


def dead(error: Exception) -> bool:
    """Whether nothing answered at all: no connection to the server, or to the proxy before it, came about."""
    import httpx2

    return isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError)


def server_of(error: Exception) -> str | None:
    """The address (scheme://host:port) that a failed request went to; after a redirect it is not the hub's."""
    with suppress(AttributeError, RuntimeError):  # the HTTP library's way to say that there is no request
        return _origin(str(error.request.url))
    return None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _disk(error: Exception) -> bool:
    """Whether this machine's disk failed: the library's errors are OSErrors too, with the server's answer."""
    return isinstance(error, OSError) and getattr(error, "response", None) is None


def _why(error: Exception, subject: Subject | Address, endpoint: str, server: str) -> str:
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if transfer.transient(error):
        return _gave_up(error, subject, server)
    if isinstance(error, transfer.Unexpected):
        return f"{error}. {CHANGED}" if isinstance(subject, Subject) else f"{error}."
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE is set. Unset it, or {ELSEWHERE}"
    if isinstance(error, errors.HFValidationError):
        return f"not a hub id: {error}. Mend the id in the catalog"
    if _disk(error):
        text = f"could not be written ({error.strerror or error}). Free space or name a folder that you may write to"
        return f"{text} (df -h, ls -ld), then run the same command again"
    if isinstance(subject, Address):
        return f"{transfer.reason(error)}."
    if status is None:
        return f"{transfer.reason(error)}. Check HF_ENDPOINT ({endpoint}) and run the same command again"
    return _refused(error, status, subject, endpoint)


def _refused(error: Exception, status: int, subject: Subject, endpoint: str) -> str:
    """A repository's answer that no repetition changes."""
    from huggingface_hub import errors

    page, login = subject.page(endpoint), "log in (`hf auth login`, or set HF_TOKEN)"
    if isinstance(error, errors.GatedRepoError):
        who = "no token was sent" if status == 401 else "the account of your token has no access"
        return (
            f"the repository is gated (HTTP {status}: {who}). Accept its terms at {page}, then {login} with that "
            "account and run the same command again"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"the hub at {endpoint} has no such revision. Look at {page} and take a present one: {PIN}"
    if isinstance(error, errors.EntryNotFoundError):
        return f"the revision holds no such file. See {page}/tree/{subject.revision}; {PIN} lists its files anew"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"the hub at {endpoint} has no such repository, or it is private (HTTP {status}). Check the id in the "
            f"catalog against {page}; if it is private, {login} with an account that may read it"
        )
    if status in (401, 403):
        return f"the hub refuses access (HTTP {status}). Renew your token: {login}; terms to accept stand at {page}"
    return f"{transfer.reason(error)}. See {page}, check HF_ENDPOINT ({endpoint}), and run the same command again"


def _gave_up(error: Exception, subject: Subject | Address, server: str) -> str:
    text, last = f"{transfer.reason(error)}, {transfer.ATTEMPTS} attempts in a row.", ""
    if isinstance(subject, Subject):
        last = f" Run the same command again later, or {ELSEWHERE}"
    if dead(error):
        return f"{text} {server} cannot be reached from here.{last}"
    if getattr(error, "response", None) is not None:
        return f"{text} {server} is busy or down" + (": run the same command again later" if last else ".")
    return f"{text} The connection to {server} breaks off.{last}"


def _by_hand(subject: Address) -> str:
    return (
        f"Run the same command again later, or get the file elsewhere and put it at {shlex.quote(str(subject.target))}"
    )
