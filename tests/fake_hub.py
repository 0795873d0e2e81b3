"""A local hub for tests: repositories of a few small files on loopback, with failures on demand.

Small files are served by the hub itself, large ones (LFS) by a redirect to a second origin, as on the real hub. What
goes over the wire is in `fake_hub_http`.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlencode

from fake_hub_http import API, Commit, Failed, git_id, handler, sibling, tree

LFS = (".parquet", ".safetensors", "tokenizer.json")


class Request(NamedTuple):
    """One request as it was answered. `host` is `hub`, or `cdn` for the second origin."""

    method: str
    path: str  # without the query
    range: str | None
    status: int
    token: str | None = None
    host: str = "hub"
    encoding: str | None = None  # Accept-Encoding


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        """A client that went away, as killed ones do, is no fault of the server: said nowhere."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class FakeHub:
    """Context manager: `with FakeHub() as hub: hub.add("dataset", "a/b", {"x.parquet": b"..."})`."""

    def __init__(self):
        self.log: list[Request] = []
        self.plain: dict[str, tuple[bytes, str]] = {}
        self.page = 100  # entries on a page of a tree; the real hub has 1000
        self.described: int | None = None  # so many files are in a repository's description (None: all)
        self.public = ""  # what links to a next page begin with, where it is not this hub's address
        self._repositories: dict[tuple[str, str], dict[str, Commit]] = {}
        self._branches: dict[tuple[str, str], dict[str, str]] = {}
        self._gated: dict[str, tuple[str | None, bool]] = {}
        self._failures: list[tuple[re.Pattern, list]] = []
        self._lock = threading.Lock()
        self._servers: list[ThreadingHTTPServer] = []

    def __enter__(self) -> FakeHub:
        for _ in range(2):
            server = Server(("127.0.0.1", 0), handler(self))
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            self._servers.append(server)
        self.url, self.cdn = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)
        return self

    def __exit__(self, *_) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    # ---- what is there
    def add(self, kind, name, files, revision=None, branch="main", lfs=LFS) -> str:
        """Add a commit with exactly these files to a `dataset` or `model` and move the branch to it.

        Returns its 40-digit id (from the content unless given). Earlier commits stay. `lfs`: suffixes of large files.
        """
        content = hashlib.sha1(f"{kind} {name}".encode())
        for path in sorted(files):
            content.update(path.encode() + b"\0" + git_id(files[path]).encode())
        sha = revision or content.hexdigest()
        self._repositories.setdefault((kind, name), {})[sha] = Commit(sha, dict(files), tuple(lfs))
        self._branches.setdefault((kind, name), {})[branch] = sha
        return sha

    def tamper(self, name: str, path: str, data: bytes) -> None:
        """Put other bytes behind every commit of the repository that holds the path."""
        hits = [
            commit
            for (_, known), commits in self._repositories.items()
            for commit in commits.values()
            if known == name and path in commit.files
        ]
        if not hits:
            raise KeyError(f"{name}: {path}")
        for commit in hits:
            commit.files[path] = data

    def place(self, path: str, data: bytes, weak: bool = False) -> str:
        """Serve bytes at `<url>/<path>`, outside any repository (an archive, say); returns the address.

        `weak`: with an ETag that stands for the meaning and not for the bytes.
        """
        self.plain[f"/{path}"] = (data, f'{"W/" * weak}"{git_id(data)}"')
        return f"{self.url}/{path}"

    def gate(self, name: str, token: str | None = None, hidden: bool = False) -> None:
        """Serve the files to this token alone (None: to nobody). `hidden`: the repository's description too."""
        self._gated[name] = (token, hidden)

    def fail(self, pattern: str, *answers) -> None:
        """Set the next answers for requests whose path matches the regular expression, one each, in order.

        An answer is a status (429, 500, 503, 401, 403 ..., also with headers: (429, {"Retry-After": "2"})),
        ("cut", bytes): the connection breaks after so many bytes of the body, ("short", bytes): the answer ends there
        as if it were whole (no Content-Length, or a shorter range than asked), ("slow", seconds for 64 KiB), "whole": a
        range is ignored, "gzip": the body is compressed, ("range", first byte): another range than asked, or None: as
        usual. Answers that begin with a word wait for a request that has a file as its answer (no HEAD, no redirect); a
        path of the second origin is that of the hub behind `/cdn`.
        """
        self._failures.append((re.compile(pattern), list(answers)))

    def recover(self) -> None:
        """Forget the failures that were set and the requests that were logged."""
        self._failures.clear()
        self.log.clear()

    def environment(self, home: Path) -> dict[str, str]:
        """Variables for a process that shall use this hub, with its cache in `home` and no token."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(Path(home) / "hub"),
            "HF_TOKEN_PATH": str(Path(home) / "token"),
            "HF_TOKEN": "",
            "HF_HUB_OFFLINE": "0",
            "TRANSFORMERS_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "XSTILTS_RETRY_WAIT": "0.01",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def requests(self, pattern: str = "", **fields) -> list[Request]:
        """Logged requests whose path matches and whose fields are equal to those given."""
        return [
            row
            for row in list(self.log)
            if re.search(pattern, row.path) and all(getattr(row, key) == value for key, value in fields.items())
        ]

    # ---- answering
    def record(self, *fields) -> None:
        self.log.append(Request(*fields))

    def answer_for(self, path: str, has_body: bool):
        with self._lock:
            for pattern, answers in self._failures:
                if answers and pattern.search(path):
                    first = answers[0][0] if isinstance(answers[0], tuple) else answers[0]
                    if isinstance(first, str) == has_body:
                        return answers.pop(0)
        return None

    def commit(self, kind: str, name: str, revision: str | None, token: str | None) -> Commit:
        commits = self._repositories.get((kind, name))
        if commits is None:
            # the real hub does not tell a stranger whether a repository is private or not there
            raise Failed(404 if token else 401, {"X-Error-Code": "RepoNotFound"}, "Repository not found")
        sha = self._branches[kind, name].get(revision or "main", revision)
        if sha not in commits:
            raise Failed(404, {"X-Error-Code": "RevisionNotFound"}, f"Invalid rev id: {revision}")
        return commits[sha]

    def admit(self, kind: str, name: str, token: str | None, describing: bool) -> None:
        if name not in self._gated:
            return
        allowed, hidden = self._gated[name]
        if (describing and not hidden) or (token is not None and token == allowed):
            return
        text = f"Access to {kind} {name} is restricted. "
        if token is None:
            raise Failed(401, {"X-Error-Code": "GatedRepo"}, text + "You must be authenticated to access it.")
        raise Failed(403, {"X-Error-Code": "GatedRepo"}, text + "You are not in the authorized list.")

    def describe(self, path: str, query: dict, token: str | None, wanted: list[str] | None):
        kind, name, action, revision, inside = API.fullmatch(path).groups()
        kind = kind[:-1]
        self.admit(kind, unquote(name), token, describing=True)
        commit = self.commit(kind, unquote(name), revision and unquote(revision), token)
        if action in ("tree", "paths-info"):
            found = tree(commit, unquote(inside or ""), query, wanted)
            first = int(query.get("cursor", ["0"])[0])
            last = first + self.page
            if wanted is not None or last >= len(found):
                return found[first:] if wanted is None else found, {}
            arguments = urlencode({**{key: values[0] for key, values in query.items()}, "cursor": last})
            return found[first:last], {"Link": f'<{self.public or self.url}{path}?{arguments}>; rel="next"'}
        blobs = query.get("blobs", [""])[0].lower() in ("true", "1")
        description = {
            "id": unquote(name),
            "sha": commit.sha,
            "private": False,
            "gated": "auto" if unquote(name) in self._gated else False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "lastModified": "2024-01-01T00:00:00.000Z",
            "createdAt": "2024-01-01T00:00:00.000Z",
            "siblings": [sibling(commit, file, blobs) for file in sorted(commit.files)[: self.described]],
        }
        return description, {}
