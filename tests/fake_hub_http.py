"""What the local hub of the tests says over HTTP.

Headers and error codes follow what `huggingface_hub.utils.hf_raise_for_status` and `get_hf_file_metadata` look at. The
second origin refuses a request that carries a token, as signed storage addresses do.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import time
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

CHUNK = 65536
API = re.compile(r"/api/(models|datasets)/(.+?)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?")
FILE = re.compile(r"(?:/cdn)?/(?:(datasets)/)?([^/]+(?:/[^/]+)?)/resolve/([^/]+)/(.+)")


class Commit(NamedTuple):
    sha: str
    files: dict[str, bytes]
    lfs: tuple[str, ...]


class Failed(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, headers: dict | None = None, message: str = ""):
        self.status, self.headers, self.message = status, headers or {}, message


def git_id(data: bytes) -> str:
    """The id that git gives a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _pointer(data: bytes) -> bytes:
    """What git holds in place of a large file."""
    sha = hashlib.sha256(data).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {len(data)}\n".encode()


def sibling(commit: Commit, path: str, blobs: bool) -> dict:
    data, row = commit.files[path], {"rfilename": path}
    if blobs:
        row |= {"size": len(data), "blobId": git_id(data)}
        if path.endswith(commit.lfs):
            pointer = _pointer(data)
            sha = hashlib.sha256(data).hexdigest()
            row |= {
                "blobId": git_id(pointer),
                "lfs": {"sha256": sha, "size": len(data), "pointerSize": len(pointer)},
            }
    return row


def tree(commit: Commit, inside: str, query: dict, wanted: list[str] | None) -> list[dict]:
    prefix = f"{inside}/" if inside else ""
    found = {}
    for path in sorted(commit.files):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            found[folder] = {"type": "directory", "oid": git_id(folder.encode()), "size": 0, "path": folder}
        row = sibling(commit, path, True)
        found[path] = {"type": "file", "oid": row["blobId"], "size": row["size"], "path": path}
        if "lfs" in row:
            lfs = row["lfs"]
            found[path]["lfs"] = {"oid": lfs["sha256"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
    if wanted is not None:
        return [found[path] for path in wanted if path in found]
    recursive = query.get("recursive", [""])[0].lower() in ("true", "1")
    below = [row for path, row in found.items() if path.startswith(prefix) and path != inside]
    if prefix and not below:
        raise Failed(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit.sha}, "Entry not found")
    return [row for row in below if recursive or "/" not in row["path"][len(prefix) :]]


def handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def log_message(self, *_):
            pass

        def do_GET(self):
            split = urlsplit(self.path)
            self.plain, query = split.path, parse_qs(split.query)
            self.host = "cdn" if self.plain.startswith("/cdn/") else "hub"
            authorization = self.headers.get("Authorization") or ""
            self.token = authorization.removeprefix("Bearer ") or None
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else b""
            try:
                answer = hub.answer_for(unquote(self.plain), has_body=False)
                if answer is not None:
                    status, headers = answer if isinstance(answer, tuple) else (answer, {})
                    if status == 429 and "Retry-After" not in headers:
                        headers = {**headers, "Retry-After": "1"}
                    raise Failed(status, headers, f"answer {status} on demand")
                if API.fullmatch(self.plain):
                    wanted = _wanted(body) if self.command == "POST" else None
                    found, headers = hub.describe(self.plain, query, self.token, wanted)
                    self.send(200, {"Content-Type": "application/json", **headers}, json.dumps(found).encode())
                elif unquote(self.plain) in hub.plain:
                    data, etag = hub.plain[unquote(self.plain)]
                    self.content({"ETag": etag, "Accept-Ranges": "bytes"}, data)
                elif FILE.fullmatch(self.plain):
                    self.file()
                else:
                    raise Failed(404, {}, "Not found")
            except Failed as failed:
                headers = {"Content-Type": "application/json", "X-Error-Message": failed.message, **failed.headers}
                self.send(failed.status, headers, json.dumps({"error": failed.message}).encode())
            except OSError:
                self.close_connection = True

        do_HEAD = do_POST = do_GET

        def file(self):
            datasets, name, revision, path = FILE.fullmatch(self.plain).groups()
            name, revision, path = unquote(name), unquote(revision), unquote(path)
            kind = "dataset" if datasets else "model"
            if self.host == "cdn" and self.token:
                raise Failed(400, {}, "Only one auth mechanism allowed")
            if self.host == "hub":
                hub.admit(kind, name, self.token, describing=False)
            commit = hub.commit(kind, name, revision, self.token)
            if path not in commit.files:
                raise Failed(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit.sha}, "Entry not found")
            data = commit.files[path]
            headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{git_id(data)}"', "Accept-Ranges": "bytes"}
            if path.endswith(commit.lfs):
                sha = hashlib.sha256(data).hexdigest()
                if self.host == "hub":
                    place = f"/cdn/{'datasets/' if datasets else ''}{name}/resolve/{commit.sha}/{quote(path)}"
                    headers |= {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(data))}
                    headers |= {"Location": f"{hub.cdn}{place}?Signature=abc"}
                    self.send(302, headers, b"Found. Redirecting")
                    return
                headers["ETag"] = f'"{sha}"'
            self.content(headers, data)

        def content(self, headers: dict, data: bytes):
            answer = hub.answer_for(unquote(self.plain), has_body=True) if self.command == "GET" else None
            asked, status = self.headers.get("Range"), 200
            unchanged = self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]
            how, value = answer if isinstance(answer, tuple) else (answer, None)
            if asked and how not in ("whole", "gzip") and unchanged:
                first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()
                first, last = value if how == "range" else int(first), min(int(last or len(data) - 1), len(data) - 1)
                if how == "short":
                    last = min(last, first + value - 1)
                if first >= len(data):
                    raise Failed(416, {"Content-Range": f"bytes */{len(data)}"}, "Range not satisfiable")
                headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
                data, status = data[first : last + 1], 206
            if how == "gzip":
                headers["Content-Encoding"], data = "gzip", gzip.compress(data)
            elif how == "short" and status == 200:
                headers["Connection"], data = "close", data[:value]
            self.send(status, headers, data, cut=value if how == "cut" else None, slow=value if how == "slow" else 0)

        def send(self, status: int, headers: dict, data: bytes, cut: int | None = None, slow: float = 0):
            row = (self.command, unquote(self.plain), self.headers.get("Range"), status, self.token, self.host)
            hub.record(*row, self.headers.get("Accept-Encoding"))
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            if "Connection" not in headers:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if cut is not None:
                data, self.close_connection = data[:cut], True
            for start in range(0, len(data), CHUNK):
                self.wfile.write(data[start : start + CHUNK])
                if slow:
                    self.wfile.flush()
                    time.sleep(slow)

    return Handler


def _wanted(body: bytes) -> list[str]:
    """Paths that a request for `paths-info` names, as JSON or as a form."""
    try:
        return json.loads(body)["paths"]
    except ValueError:
        return parse_qs(body.decode()).get("paths", [])
