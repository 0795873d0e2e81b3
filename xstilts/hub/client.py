"""The only module that asks the hub: what a repository holds, and its files, verified.

Addresses, cache, tokens, sessions and error codes are those of `huggingface_hub`; HF_ENDPOINT, HF_HOME, HF_HUB_CACHE,
HF_HUB_OFFLINE, HF_TOKEN and HF_HUB_DOWNLOAD_TIMEOUT are respected. Files are put into the library's cache as real
files (its layout for systems without links), so that other programs find them there, and a broken download goes on.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from xstilts.errors import UserError
from xstilts.files import sha256
from xstilts.hub import refusals, transfer

_TRUE = ("1", "ON", "YES", "TRUE")
_NUMBERS = ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT")
Result = TypeVar("Result")


class Info(NamedTuple):
    """A commit: `files` maps each path to {"bytes", "sha256"} (large files) or {"bytes", "sha1"} (git's own id)."""

    sha: str
    files: dict[str, dict]


# ---- settings, read when they are used
def _constants():
    """The library's constants. It cannot be imported where one of its variables is no number."""
    try:
        from huggingface_hub import constants
    except ValueError as error:
        wrong = [f"{key}={os.environ[key]}" for key in _NUMBERS if not os.environ.get(key, "0").strip().isdigit()]
        raise UserError(
            f"{' and '.join(wrong) or 'a variable HF_...'}: {error}. Allowed: a whole number of seconds, such as 30. "
            "Mend or unset it and run the same command again"
        ) from error
    return constants


def endpoint() -> str:
    """Address of the hub: HF_ENDPOINT, else the library's."""
    return (os.environ.get("HF_ENDPOINT") or _constants().ENDPOINT).rstrip("/")


def cache_folder() -> Path:
    """The hub client's cache: HF_HUB_CACHE, else HF_HOME/hub, else the library's default."""
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.path.expandvars(os.environ["HF_HUB_CACHE"])).expanduser()
    if os.environ.get("HF_HOME"):
        return Path(os.path.expandvars(os.environ["HF_HOME"])).expanduser() / "hub"
    return Path(_constants().HF_HUB_CACHE)


def offline() -> bool:
    """Whether the network must not be used: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE."""
    set_here = [os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")]
    return any(set_here) or _constants().is_offline_mode()


# ---- asking
def info(kind: str, name: str, revision: str, missing_ok: bool = False) -> Info | None:
    """The commit that a revision (branch, tag or commit) of a `dataset` or `model` means, with all its files.

    The hub's description may leave out files of a large repository: it gives the commit, and the files are those of
    the commit's tree, which comes in pages. `missing_ok`: None where the repository has no such revision. Every other
    failure is a UserError, also a list without files or with a file of unknown size.
    """
    subject = refusals.Subject(kind, name, revision)
    _need_network(subject)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    api = HfApi(endpoint=endpoint())
    call = api.dataset_info if kind == "dataset" else api.model_info
    try:
        found = _asked(lambda: call(name, revision=revision, timeout=transfer.timeout()), subject)
    except refusals.Refused as refused:
        if missing_ok and isinstance(refused.__cause__, RevisionNotFoundError):
            return None
        raise
    wrong, files = None, {}
    if not re.fullmatch("[0-9a-f]{40}", str(found.sha)):
        wrong = f"its commit is {found.sha!r}, expected 40 hex digits"
    else:
        files = _tree(subject._replace(revision=found.sha))
        unknown = [path for path, row in files.items() if None in row.values()]
        if not files or unknown:
            wrong = f"size or digest of {unknown[0]} is missing" if unknown else "it lists no file"
    if wrong:
        why = f"the answer of {endpoint()} cannot be used: {wrong}. Check HF_ENDPOINT and run the same command again"
        raise refusals.Refused(subject, why, server=endpoint())
    return Info(found.sha, files)


def _tree(subject: refusals.Subject) -> dict[str, dict]:
    """Path -> row of all files of a commit, page by page.

    The library's own loop waits without a limit and repeats requests unsaid. Of a link to the next page its query alone
    is used: mirrors may pass on links that lead to the hub itself.
    """
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils import get_session, hf_raise_for_status

    url = f"{endpoint()}/api/{subject.kind}s/{subject.name}/tree/{subject.revision}"
    query, files = "recursive=True&expand=False", {}

    def page() -> tuple[list[RepoFile], str]:
        response = get_session().get(f"{url}?{query}", headers=_headers(), timeout=transfer.timeout())
        hf_raise_for_status(response)
        found = [RepoFile(**{"size": None, "oid": None, **row}) for row in response.json() if row["type"] == "file"]
        return found, urlsplit(response.links.get("next", {}).get("url", "")).query

    while query:
        found, query = _asked(page, subject)
        for file in found:
            key, value = ("sha256", file.lfs.sha256) if file.lfs else ("sha1", file.blob_id)
            files[file.path] = {"bytes": file.size, key: value}
    return files


def read_text(kind: str, name: str, revision: str, path: str) -> str | None:
    """A small text file of a repository (its README.md), not kept and not verified. None: no such file."""
    subject = refusals.Subject(kind, name, revision, path)
    _need_network(subject)
    from huggingface_hub.errors import RemoteEntryNotFoundError
    from huggingface_hub.utils import get_session, hf_raise_for_status

    def ask() -> str | None:
        response = get_session().get(
            _url(kind, name, revision, path), headers=_headers(), timeout=transfer.timeout(), follow_redirects=True
        )
        try:
            hf_raise_for_status(response)
        except RemoteEntryNotFoundError:
            return None
        return response.content.decode("utf-8", errors="replace")

    return _asked(ask, subject)


def _asked(call: Callable[[], Result], subject: refusals.Subject) -> Result:
    """Result of a request, repeated where that helps; its failure is a UserError."""
    try:
        return transfer.repeat(call, str(subject))
    except Exception as error:
        raise refusals.explain(error, subject, endpoint()) from error


# ---- files
def cached(kind: str, name: str, revision: str, path: str) -> Path | None:
    """The file in the hub client's cache on this machine, not verified; None: it is not there. Never asks the hub."""
    _constants()
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, path, cache_dir=cache_folder(), revision=revision, repo_type=kind)
    return Path(found) if isinstance(found, str) else None


def download(
    kind: str,
    name: str,
    revision: str,
    path: str,
    row: dict,
    into: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """A file of a repository at a commit, verified against its row of the lock: {"bytes", "sha256" or "sha1"}.

    It goes to `<into>/<path>`, or to the hub client's cache. A file that is there already is verified and not asked
    for; a damaged one is downloaded again. A broken download goes on from `<file>.part`, in any later process.
    `progress` gets numbers of bytes that add up to the file's size (see transfer.fetch). Every failure is a UserError.
    """
    subject = refusals.Subject(kind, name, revision, path)
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise UserError(f"{subject}: the path leaves its folder. Run {refusals.PIN}")
    present = Path(into) / path if into else cached(kind, name, revision, path)
    target = Path(into) / path if into else _snapshot(kind, name, revision) / path
    if present is not None and present.is_file():
        wrong = difference(present, row)
        if wrong is None:
            if progress:
                progress(row["bytes"])
            return present
        if offline():
            raise refusals.Offline(
                subject,
                f"{present}: {wrong}. The copy is damaged, and HF_HUB_OFFLINE forbids to download it again. Unset it, "
                "or copy the file from a machine that has it",
            )
        transfer.say(f"{subject}: {present}: {wrong}; the copy is damaged, downloading it again")
    _need_network(subject)
    url = _url(kind, name, revision, path)
    return _fetch(
        url, target, subject, _headers(), row["bytes"], lambda part: verify(part, row, str(subject)), progress
    )


def fetch_url(url: str, into: Path, progress: Callable[[int], None] | None = None) -> Path:
    """The file behind a plain address, as `<into>/<last part of the address>`; resumed and repeated as `download` is.

    Its content has no known digest: only a complete file gets the name. No token is sent. A file that is there already
    is taken as it is.
    """
    target = Path(into) / PurePosixPath(unquote(urlsplit(url).path)).name
    if target.is_file():
        if progress:
            progress(target.stat().st_size)
        return target
    subject = refusals.Address(url, target)
    _need_network(subject)
    return _fetch(url, target, subject, {"User-Agent": "xstilts"}, progress=progress)


def _fetch(url, target, subject, headers, size=None, check=lambda part: None, progress=None) -> Path:
    try:
        return transfer.fetch(url, target, str(subject), headers, size, check, progress)
    except UserError:
        raise
    except Exception as error:
        raise refusals.explain(error, subject, endpoint(), target.with_name(f"{target.name}.part")) from error


# ---- verifying
def verify(path: Path, row: dict, what: str) -> None:
    """Compare a file with its row of the lock; UserError with both sizes or both digests. `what` opens the message."""
    wrong = difference(path, row)
    if wrong:
        raise UserError(f"{what}: {wrong}. {refusals.CHANGED}")


def difference(path: Path, row: dict) -> str | None:
    """What tells a file from its row ("sha256 is ..., expected ..."), None if nothing does."""
    size = Path(path).stat().st_size
    if size != row["bytes"]:
        return f"size is {size} bytes, expected {row['bytes']}"
    algorithm = "sha256" if "sha256" in row else "sha1"
    found = digest(path, algorithm)
    return None if found == row[algorithm] else f"{algorithm} is {found}, expected {row[algorithm]}"


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Digest of a file's content in hex. `sha1` is git's id of the content, as the hub lists it for small files."""
    if algorithm == "sha256":
        return sha256(path)
    state = hashlib.sha1(b"blob %d\0" % Path(path).stat().st_size)
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            state.update(chunk)
    return state.hexdigest()


# ---- addresses
def _need_network(subject) -> None:
    """Before every request: an error that waits or repetitions would only hide is said first."""
    transfer.check_settings()
    if offline():
        raise refusals.Offline(
            subject,
            f"HF_HUB_OFFLINE is set, and it is not in the cache {cache_folder()}. Unset HF_HUB_OFFLINE, or "
            f"{refusals.ELSEWHERE}",
        )


def _url(kind: str, name: str, revision: str, path: str) -> str:
    from huggingface_hub import hf_hub_url

    return hf_hub_url(name, path, repo_type=kind, revision=revision, endpoint=endpoint())


def _headers() -> dict[str, str]:
    """With the user's token, if there is one; the HTTP library takes it off where a redirect leaves the hub."""
    from huggingface_hub.utils import build_hf_headers

    return build_hf_headers(library_name="xstilts")


def _snapshot(kind: str, name: str, revision: str) -> Path:
    from huggingface_hub.file_download import repo_folder_name

    return cache_folder() / repo_folder_name(repo_id=name, repo_type=kind) / "snapshots" / revision
