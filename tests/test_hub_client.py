"""Downloads from a local hub: what a user gets, reads and finds on the disk when it answers, refuses or breaks off."""

import email.utils
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from xstilts.errors import UserError
from xstilts.fetch.progress import Progress, Stopped
from xstilts.hub import client, refusals, transfer

DATA = "de/test-00000-of-00001.parquet"
LARGE = bytes(range(256)) * 1200  # 307,200 bytes behind a redirect
SMALL = b'{"model_type": "xlm-roberta"}'
NAME = "facebook/xnli"


@pytest.fixture
def repository(hub):
    """(hub, commit, rows) of a data set with one large and two small files."""
    commit = hub.add("dataset", NAME, {DATA: LARGE, "config.json": SMALL, "README.md": b"---\nlicense: mit\n---\n"})
    rows = client.info("dataset", NAME, commit).files
    hub.log.clear()
    return hub, commit, rows


def get(repository, path=DATA, **options) -> Path:
    _, commit, rows = repository
    return client.download("dataset", NAME, commit, path, rows[path], **options)


def refused(repository, path=DATA, **options) -> str:
    with pytest.raises(UserError) as caught:
        get(repository, path, **options)
    text = str(caught.value)
    assert NAME in text and repository[1] in text and path in text, "the message must name what was asked for"
    return text


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ---- success
def test_description_lists_sizes_and_digests(repository):
    _, commit, _ = repository
    info = client.info("dataset", NAME, "main")
    assert info.sha == commit and set(info.files) == {DATA, "config.json", "README.md"}
    assert info.files[DATA]["bytes"] == len(LARGE) and len(info.files[DATA]["sha256"]) == 64
    assert info.files["config.json"]["bytes"] == len(SMALL) and len(info.files["config.json"]["sha1"]) == 40
    assert client.read_text("dataset", NAME, commit, "README.md") == "---\nlicense: mit\n---\n"
    assert client.read_text("dataset", NAME, commit, "LICENSE") is None


@pytest.mark.parametrize("mirror", [False, True], ids=["hub", "mirror"])
def test_files_of_a_large_repository_are_all_listed(hub, monkeypatch, mirror):
    """The description is cut and the tree comes in pages; a mirror's links may lead to the hub itself."""
    files = {f"x/part-{number:05}-of-00025.parquet": bytes(number) for number in range(25)}
    commit = hub.add("dataset", NAME, {**files, "README.md": b""})
    hub.page, hub.described, hub.public = 10, 3, "http://hub.invalid" if mirror else ""
    hub.fail("/tree/", 503, None, 503)  # a page is repeated, not the list
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    info = client.info("dataset", NAME, "main")
    assert info.sha == commit and set(info.files) == {*files, "README.md"}
    assert [info.files[path]["bytes"] for path in files] == [*range(25)]
    assert len(hub.requests("/tree/", status=200)) == 3 and len(hub.requests("/tree/", status=503)) == 2
    assert {row.token for row in hub.log} == {"hf_secret"}, "every page of a private repository needs the token"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [], "it lists no file"),
        (lambda rows: [{**rows[0], "size": None}, *rows[1:]], "size or digest of README.md is missing"),
        (lambda rows: [*rows[:-1], {"type": "file", "path": "x.json"}], "size or digest of x.json is missing"),
    ],
)
def test_a_list_that_is_no_list_is_refused(repository, monkeypatch, change, message):
    import fake_hub

    tree = fake_hub.tree
    monkeypatch.setattr(fake_hub, "tree", lambda *asked: change([row for row in tree(*asked) if row["type"] == "file"]))
    with pytest.raises(UserError, match=f"data set {NAME} at main: .*{message}.*HF_ENDPOINT"):
        client.info("dataset", NAME, "main")


def test_a_description_without_a_commit_is_refused(hub):
    hub.add("dataset", NAME, {"README.md": b""}, revision="main-as-it-is")
    with pytest.raises(UserError, match="its commit is 'main-as-it-is', expected 40 hex digits"):
        client.info("dataset", NAME, "main")


@pytest.mark.parametrize("path", [DATA, "config.json"])
def test_download_lands_in_the_cache_once(repository, path, tmp_path):
    hub, commit, _ = repository
    assert client.cached("dataset", NAME, commit, path) is None
    found = get(repository, path)
    assert found.read_bytes() == (LARGE if path == DATA else SMALL)
    assert tmp_path / "hf" / "hub" in found.parents and client.cached("dataset", NAME, commit, path) == found
    hub.log.clear()
    assert get(repository, path) == found and not hub.log, "a file that is there must not be asked for again"


def test_cache_is_one_that_the_library_reads(repository):
    import huggingface_hub

    found = get(repository)
    library = huggingface_hub.hf_hub_download(
        NAME, DATA, repo_type="dataset", revision=repository[1], cache_dir=client.cache_folder(), local_files_only=True
    )
    scanned = huggingface_hub.scan_cache_dir(client.cache_folder())
    assert Path(library) == found and not scanned.warnings
    assert [(repo.repo_id, repo.size_on_disk) for repo in scanned.repos] == [(NAME, len(LARGE))]


def test_cache_that_the_library_filled_is_used(repository, monkeypatch):
    import huggingface_hub

    hub, commit, _ = repository
    options = {"repo_type": "dataset", "revision": commit, "cache_dir": client.cache_folder(), "endpoint": hub.url}
    library = huggingface_hub.hf_hub_download(NAME, DATA, **options)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert get(repository) == Path(library)


def test_cache_folder_follows_the_library_s_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    assert client.cache_folder() == tmp_path / "home" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert client.cache_folder() == tmp_path / "cache"


def test_token_goes_to_the_hub_and_not_to_the_other_host(repository, monkeypatch):
    hub, _, _ = repository
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert get(repository).read_bytes() == LARGE
    assert [(row.host, row.token) for row in hub.log] == [("hub", "hf_secret"), ("cdn", None)]


def test_model_goes_into_a_folder(hub, tmp_path):
    commit = hub.add("model", "m/n", {"model.safetensors": LARGE, "config.json": SMALL})
    files = client.info("model", "m/n", commit).files
    for path, row in files.items():
        client.download("model", "m/n", commit, path, row, into=tmp_path / "out")
    assert files_in(tmp_path / "out") == ["config.json", "model.safetensors"]
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == LARGE


def test_empty_file(hub, tmp_path):
    commit = hub.add("model", "m/n", {"config.json": b""})
    row = client.info("model", "m/n", commit).files["config.json"]
    assert client.download("model", "m/n", commit, "config.json", row, into=tmp_path).read_bytes() == b""


# ---- a busy or broken server
def test_429_waits_as_long_as_the_server_asks(repository, monkeypatch, capsys):
    hub, _, _ = repository
    monkeypatch.setenv("XSTILTS_RETRY_WAIT", "0.001")
    limit = {"Retry-After": "", "RateLimit": '"resolvers";r=0;t=55'}
    hub.fail("/resolve/", (429, {"Retry-After": "7"}), (429, {"Retry-After": "99999"}), (429, limit), None)
    assert get(repository).read_bytes() == LARGE
    said = capsys.readouterr().err
    for seconds in ("0.007", "0.3", "0.055"):
        assert f"HTTP 429 Too Many Requests; trying again in {seconds} s" in said


def test_a_server_may_name_the_time_to_come_back(repository, monkeypatch, capsys):
    hub, _, _ = repository
    monkeypatch.setenv("XSTILTS_RETRY_WAIT", "0.001")
    for seconds in (100, -100):
        hub.fail("/resolve/", (503, {"Retry-After": email.utils.formatdate(time.time() + seconds, usegmt=True)}), None)
        assert get(repository, into=None).read_bytes() == LARGE
        get(repository).unlink()
    waits = [float(text) for text in re.findall(r"trying again in (\S+) s", capsys.readouterr().err)]
    assert len(waits) == 2 and 0.09 < waits[0] <= 0.1 and waits[1] == 0.001


def test_a_wait_ends_when_the_fetch_is_stopped(repository, tmp_path, monkeypatch):
    hub, _, _ = repository
    monkeypatch.setenv("XSTILTS_RETRY_WAIT", "1")
    hub.fail("test-00000", ("cut", 100_000), *[(503, {"Retry-After": "200"})] * 9)
    ended = []

    def bring():
        try:
            get(repository, into=tmp_path, progress=progress.add)
        except Stopped:
            ended.append(time.monotonic())

    with Progress(0, 0, 1, print) as progress:
        worker = threading.Thread(target=bring, daemon=True)
        worker.start()
        while not hub.requests(status=503):
            assert worker.is_alive()
            time.sleep(0.01)
        stopped = time.monotonic()
    worker.join(20)
    assert ended and ended[0] - stopped < 2
    assert (tmp_path / f"{DATA}.part").stat().st_size == 100_000, "what arrived is kept"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_server_errors_pass(repository, status, capsys):
    hub, commit, _ = repository
    hub.fail("/api/", status, status)
    hub.fail("^/datasets/", status)
    hub.fail("^/cdn/", status)
    assert client.info("dataset", NAME, commit).sha == commit
    assert get(repository).read_bytes() == LARGE
    assert capsys.readouterr().err.count(f"HTTP {status}") == 4


@pytest.mark.parametrize("status", [429, 500, 503])
def test_server_errors_that_stay_end_with_a_message(repository, status, tmp_path):
    hub, _, _ = repository
    hub.fail("/resolve/", *[status] * 20)
    text = refused(repository, into=tmp_path / "out")
    assert f"HTTP {status}" in text and "run the same command again later" in text
    assert len(hub.requests("/resolve/")) == transfer.ATTEMPTS
    assert files_in(tmp_path / "out") == []
    hub.fail("/api/", *[status] * 20)
    with pytest.raises(UserError, match=f"{NAME}.*HTTP {status}"):
        client.info("dataset", NAME, "main")


def test_no_server_at_all(repository, monkeypatch, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        text = refused(repository, into=tmp_path / "out")
    assert (
        "cannot be reached from here" in text
        and "Connection refused" in text
        and "python -m xstilts fetch STUDY --to DIR" in text
    )
    assert files_in(tmp_path / "out") == []


def test_errors_say_whether_anything_answers(repository, monkeypatch, tmp_path):
    """A caller with many files asks a dead server once, and says one reason for all files."""
    hub, commit, rows = repository

    def error(path=DATA):
        with pytest.raises(refusals.Refused) as caught:
            client.download("dataset", NAME, commit, path, rows[path], into=tmp_path / "out")
        assert str(caught.value).startswith(f"data set {NAME} at {commit}, file {path}: {caught.value.reason}")
        return caught.value

    hub.fail("/resolve/", *[503] * transfer.ATTEMPTS, 403, ("cut", 10), *[("cut", 0)] * 20)
    for words in ("busy or down", "refuses access", "breaks off"):
        found = error()
        assert words in found.reason and found.server == (hub.cdn if "breaks" in words else hub.url)
        assert type(found) is refusals.Refused and DATA not in found.reason
    hub.recover()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
        live, hub.cdn = hub.cdn, dead
        found = error()  # the hub answers, the host of its large files does not
        assert isinstance(found, refusals.Unreachable) and found.server == dead and f"{dead} cannot be" in found.reason
        hub.cdn = live
        with pytest.raises(refusals.Unreachable) as caught:
            client.fetch_url(f"{dead}/bucc/x.tar.bz2", tmp_path)
        assert caught.value.server == dead and "x.tar.bz2" not in caught.value.reason
        assert f"put it at {tmp_path}/x.tar.bz2" in str(caught.value)
        monkeypatch.setenv("HF_ENDPOINT", dead)
        reasons = {(type(one), one.server, one.reason) for one in (error(), error("config.json"))}
        assert {(kind, server) for kind, server, _ in reasons} == {(refusals.Unreachable, dead)} and len(reasons) == 1
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert type(error()) is refusals.Offline and error().reason == error("config.json").reason


def test_an_archive_that_breaks_off_names_its_own_server(hub, tmp_path):
    """A shorter range than asked has no request's address in its error; the hub is another server."""
    hub.place("bucc/y.tar.bz2", LARGE)
    hub.fail("bucc", ("cut", 10), *[("short", 0)] * 20)
    message = f"connection to {hub.cdn} breaks off.*put it at.*10 bytes are kept"
    with pytest.raises(refusals.Refused, match=message) as caught:
        client.fetch_url(f"{hub.cdn}/bucc/y.tar.bz2", tmp_path)
    assert caught.value.server == hub.cdn and hub.cdn != hub.url


def test_server_that_says_nothing_is_given_up(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "ReadTimeout" in refused(repository, into=tmp_path / "out")


# ---- broken off
def test_cut_transfer_goes_on_where_it_stopped(repository, tmp_path):
    hub, _, _ = repository
    hub.fail("test-00000", ("cut", 100_000), ("cut", 50_000))
    seen = []
    assert get(repository, into=tmp_path / "out", progress=seen.append).read_bytes() == LARGE
    assert [row.range for row in hub.requests(host="cdn")] == [None, "bytes=100000-", "bytes=150000-"]
    assert sum(seen) == len(LARGE)
    assert files_in(tmp_path / "out") == [DATA]


def test_many_cuts_are_no_reason_to_give_up_while_bytes_come(repository, tmp_path):
    hub, _, _ = repository
    hub.fail("test-00000", *[("cut", 10_000)] * (3 * transfer.ATTEMPTS))
    assert get(repository, into=tmp_path / "out").read_bytes() == LARGE


def test_cuts_without_a_byte_end_and_keep_what_is_there(repository, tmp_path):
    hub, _, _ = repository
    hub.fail("test-00000", ("cut", 100_000), *[("cut", 0)] * 20)
    text = refused(repository, into=tmp_path / "out")
    assert "100000 bytes are kept" in text and "the same command goes on" in text
    assert files_in(tmp_path / "out") == [f"{DATA}.part"]
    hub.recover()
    assert get(repository, into=tmp_path / "out").read_bytes() == LARGE
    assert [row.range for row in hub.requests(host="cdn")] == ["bytes=100000-"]


def test_an_answer_that_ends_early_goes_on(repository, tmp_path, capsys):
    """No length and a closed connection, then a shorter range than asked: nothing that arrived is thrown away."""
    hub, _, _ = repository
    hub.fail("test-00000", ("short", 100_000), ("short", 50_000))
    seen = []
    assert get(repository, into=tmp_path / "out", progress=seen.append).read_bytes() == LARGE
    assert [row.range for row in hub.requests(host="cdn")] == [None, "bytes=100000-", "bytes=150000-"]
    assert sum(seen) == len(LARGE) and min(seen) >= 0
    assert "the answer ended at 100000 of 307200 bytes; trying again" in capsys.readouterr().err


def test_answers_that_end_early_without_a_byte_are_given_up(repository, tmp_path):
    hub, _, _ = repository
    out = tmp_path / "out"
    hub.fail("test-00000", *[("short", 0)] * 20)
    text = refused(repository, into=out)
    assert "0 of 307200 bytes, 5 attempts in a row" in text and "not the one that was pinned" not in text
    assert len(hub.requests(host="cdn")) == transfer.ATTEMPTS and files_in(out) == []
    hub.recover()
    hub.fail("test-00000", ("short", 100_000), *[("cut", 0)] * 20)
    assert "100000 bytes are kept" in refused(repository, into=out)
    assert files_in(out) == [f"{DATA}.part"]


def test_a_shorter_file_without_a_length_is_a_changed_one(repository, tmp_path):
    hub, _, _ = repository
    hub.tamper(NAME, DATA, LARGE[:1000])
    hub.fail("test-00000", ("short", 5000))
    text = refused(repository, into=tmp_path / "out")
    assert "the server has 1000 bytes" in text and "not the one that was pinned" in text


def test_a_compressed_answer_is_no_changed_file(repository, tmp_path):
    """Its Content-Length counts other bytes. Compression is not asked for: a part could not be continued."""
    hub, _, _ = repository
    hub.fail("test-00000", "gzip", ("cut", 100_000), "gzip")
    for folder in ("a", "b"):
        assert get(repository, into=tmp_path / folder).read_bytes() == LARGE
    assert {row.encoding for row in hub.log} == {"identity"}


def test_another_range_than_asked_is_not_appended(hub, tmp_path):
    """An archive has no digest that would show it."""
    url = hub.place("bucc/x.tar.bz2", LARGE)
    hub.fail("bucc", ("cut", 100_000), ("range", 50_000))
    seen = []
    assert client.fetch_url(url, tmp_path, progress=seen.append).read_bytes() == LARGE and sum(seen) == len(LARGE)


def test_server_that_ignores_ranges_sends_the_whole_file(repository, tmp_path):
    hub, _, _ = repository
    hub.fail("test-00000", ("cut", 100_000), "whole")
    seen = []
    assert get(repository, into=tmp_path / "out", progress=seen.append).read_bytes() == LARGE
    assert sum(seen) == len(LARGE)


def test_beginning_of_other_content_is_noticed(repository, tmp_path, capsys):
    part = tmp_path / "out" / f"{DATA}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert get(repository, into=tmp_path / "out").read_bytes() == LARGE
    assert "does not fit" in capsys.readouterr().err
    assert files_in(tmp_path / "out") == [DATA]


@pytest.mark.parametrize("into", [True, False], ids=["folder", "cache"])
def test_killed_process_loses_nothing(repository, tmp_path, into):
    hub, commit, rows = repository
    hub.fail("test-00000", ("slow", 0.4))
    folder = tmp_path / "out" if into else tmp_path / "hf"
    code = (
        "from pathlib import Path; from xstilts.hub import client; client.download('dataset', "
        f"{NAME!r}, {commit!r}, {DATA!r}, {rows[DATA]!r}, into={f'Path({str(folder)!r})' if into else None})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
    give_up = time.monotonic() + 30
    while not any(part.stat().st_size for part in folder.rglob(f"{Path(DATA).name}.part")):
        assert process.poll() is None and time.monotonic() < give_up
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(folder.rglob(Path(DATA).name)), "an unfinished file must not have the final name"
    (part,) = folder.rglob("*.part")
    begun = part.stat().st_size
    assert 0 < begun < len(LARGE)
    hub.log.clear()
    assert get(repository, into=folder if into else None).read_bytes() == LARGE
    assert [row.range for row in hub.requests(host="cdn")] == [f"bytes={begun}-"]
    assert not list(folder.rglob("*.part"))


def test_two_at_once_download_it_once(repository, tmp_path, capsys):
    hub, _, _ = repository
    hub.fail("test-00000", ("slow", 0.1))
    found = []
    threads = [threading.Thread(target=lambda: found.append(get(repository, into=tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and found[0].read_bytes() == LARGE
    assert len(hub.requests(host="cdn")) == 1
    assert not list(tmp_path.rglob("*.part"))


# ---- refused
def test_unknown_revision(repository, tmp_path):
    _, _, rows = repository
    with pytest.raises(UserError) as caught:
        client.download("dataset", NAME, "1" * 40, DATA, rows[DATA], into=tmp_path / "out")
    text = str(caught.value)
    assert NAME in text and "1" * 40 in text and "no such revision" in text and "python -m xstilts pin" in text
    assert files_in(tmp_path / "out") == []
    assert client.info("dataset", NAME, "1" * 40, missing_ok=True) is None
    with pytest.raises(UserError, match="no such revision"):
        client.info("dataset", NAME, "1" * 40)


def test_missing_file(repository, tmp_path):
    hub, commit, rows = repository
    with pytest.raises(UserError) as caught:
        client.download("dataset", NAME, commit, "fr/test.parquet", rows[DATA], into=tmp_path / "out")
    assert "fr/test.parquet: the revision holds no such file" in str(caught.value)
    assert "python -m xstilts pin" in str(caught.value) and f"{hub.url}/datasets/{NAME}/tree/{commit}" in str(
        caught.value
    )
    assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize("token", [None, "hf_known"])
def test_missing_repository(hub, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token or "")
    with pytest.raises(UserError, match=r"model a/b.*no such repository, or it is private.*hf auth login"):
        client.info("model", "a/b", "main", missing_ok=True)


@pytest.mark.parametrize("token", [None, "hf_other"])
@pytest.mark.parametrize("path", [DATA, "config.json"])
def test_gated_repository(repository, monkeypatch, tmp_path, token, path):
    hub, _, _ = repository
    hub.gate(NAME, token="hf_accepted")
    monkeypatch.setenv("HF_TOKEN", token or "")
    text = refused(repository, path, into=tmp_path / "out")
    assert f"HTTP {403 if token else 401}" in text and f"Accept its terms at {hub.url}/datasets/{NAME}" in text
    assert "hf auth login" in text and "HF_TOKEN" in text
    assert files_in(tmp_path / "out") == []
    monkeypatch.setenv("HF_TOKEN", "hf_accepted")
    assert get(repository, path, into=tmp_path / "out").is_file()


@pytest.mark.parametrize("status", [401, 403])
def test_bad_token(repository, monkeypatch, tmp_path, status):
    hub, _, _ = repository
    out = tmp_path / "out"
    hub.fail("test-00000", ("cut", 100_000), *[("cut", 0)] * (transfer.ATTEMPTS - 1))
    refused(repository, into=out)
    hub.recover()
    message = {"X-Error-Message": "Invalid credentials in Authorization header"}
    hub.fail("/resolve/", (status, message))
    text = refused(repository, into=out)
    assert f"HTTP {status}" in text and "hf auth login" in text
    assert files_in(out) == [f"{DATA}.part"], "an expired token is no reason to lose what was downloaded"


# ---- changed behind the pinned digest
@pytest.mark.parametrize("path", [DATA, "config.json"])
@pytest.mark.parametrize("change", ["byte", "longer", "shorter"])
@pytest.mark.parametrize("begun", [False, True])
def test_changed_file(repository, tmp_path, path, change, begun):
    hub, _, rows = repository
    data = LARGE if path == DATA else SMALL
    other = {"byte": data[:-1] + b"!", "longer": data + b"!", "shorter": data[:10]}[change]
    hub.tamper(NAME, path, other)
    part = tmp_path / "out" / f"{path}.part"
    if begun:
        part.parent.mkdir(parents=True)
        part.write_bytes(data[:20])
    text = refused(repository, path, into=tmp_path / "out")
    if change == "byte":
        key = "sha256" if path == DATA else "sha1"
        assert f"{key} is " in text and f"expected {rows[path][key]}" in text
    else:
        assert f"{len(other)} bytes" in text
    assert "not the one that was pinned" in text and "python -m xstilts pin" in text
    assert files_in(tmp_path / "out") in ([], [f"{path}.part"] if begun and change != "byte" else [])


def test_verify_names_both_digests(repository, tmp_path):
    _, _, rows = repository
    (tmp_path / "x").write_bytes(LARGE)
    client.verify(tmp_path / "x", rows[DATA], "x")
    (tmp_path / "x").write_bytes(LARGE[:-1] + b"!")
    with pytest.raises(UserError, match=f"xnli/x: sha256 is [0-9a-f]{{64}}, expected {rows[DATA]['sha256']}"):
        client.verify(tmp_path / "x", rows[DATA], "xnli/x")


@pytest.mark.parametrize("into", [True, False], ids=["folder", "cache"])
def test_damaged_copy_is_replaced(repository, monkeypatch, tmp_path, into, capsys):
    options = {"into": tmp_path / "out"} if into else {}
    copy = get(repository, **options)
    copy.write_bytes(LARGE[:-1] + b"!")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = refused(repository, **options)
    assert str(copy) in text and "damaged" in text and "HF_HUB_OFFLINE" in text
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert get(repository, **options).read_bytes() == LARGE
    assert "damaged" in capsys.readouterr().err


# ---- slow, offline, full
def test_slow_server_shows_progress(repository, tmp_path, monkeypatch, capsys):
    hub, _, _ = repository
    hub.fail("test-00000", ("slow", 0.02), ("slow", 0.02))
    seen = []
    get(repository, into=tmp_path / "a", progress=seen.append)
    assert len(seen) > 3 and sum(seen) == len(LARGE)
    monkeypatch.setattr(transfer, "SAY_EVERY", 0.03)
    get(repository, into=tmp_path / "b")
    lines = [line for line in capsys.readouterr().err.splitlines() if " of 0.3 MB" in line]
    assert lines and all(NAME in line and DATA in line for line in lines)


def test_offline_reads_the_cache_alone(repository, monkeypatch):
    hub, commit, _ = repository
    found = get(repository)
    hub.log.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert get(repository) == found
    text = refused(repository, "config.json")
    assert "HF_HUB_OFFLINE is set" in text and str(client.cache_folder()) in text and "xstilts fetch STUDY" in text
    for ask in (client.info, lambda *args: client.read_text(*args, "README.md")):
        with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
            ask("dataset", NAME, commit)
    assert not hub.log


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("ON", True), ("yes", True), ("True", True), ("0", False)]
)
def test_offline_is_what_the_library_takes_for_it(hub, monkeypatch, variable, value, expected):
    monkeypatch.setenv(variable, value)
    assert client.offline() == expected


def test_offline_may_be_set_for_the_library_alone(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert client.offline()


@pytest.mark.parametrize("variable", ["HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT", "XSTILTS_RETRY_WAIT"])
def test_a_setting_that_is_no_number_is_named(hub, variable):
    """In a process of its own: the library reads its variables when it is imported."""
    code = (
        "from xstilts.errors import UserError; from xstilts.hub import client\n"
        "for ask in (lambda: client.info('model', 'a/b', 'main'), lambda: client.offline() or client.cached('model', "
        "'a/b', 'main', 'x'), lambda: client.fetch_url('http://127.0.0.1:9/x', '/nowhere')):\n"
        "    try: ask()\n    except UserError as error: print(error)"
    )
    environment = {**os.environ, variable: "abc"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == (2 if variable == "XSTILTS_RETRY_WAIT" else 3) and not hub.log
    assert all(line.startswith(f"{variable}=abc: ") and "llowed: a " in line for line in lines)


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_a_wait_that_cannot_be_waited_is_named(repository, monkeypatch, value):
    monkeypatch.setenv("XSTILTS_RETRY_WAIT", value)
    with pytest.raises(UserError, match=f"XSTILTS_RETRY_WAIT={value}: allowed"):
        get(repository)


def test_full_disk_keeps_the_beginning(repository, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        text = refused(repository, into=tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "could not be written (File too large)" in text and "run the same command again" in text
    assert files_in(tmp_path / "out") == [f"{DATA}.part"]
    assert get(repository, into=tmp_path / "out").read_bytes() == LARGE


def test_path_cannot_leave_its_folder(repository, tmp_path):
    _, commit, rows = repository
    with pytest.raises(UserError, match="leaves its folder"):
        client.download("dataset", NAME, commit, "../x.parquet", rows[DATA], into=tmp_path / "out")


# ---- plain addresses
def test_archive_from_a_plain_address(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    url = hub.place("bucc/de-en.tar.bz2", LARGE)
    hub.fail("bucc", 503, ("cut", 100_000))
    seen = []
    found = client.fetch_url(url, tmp_path, progress=seen.append)
    assert found == tmp_path / "de-en.tar.bz2" and found.read_bytes() == LARGE and sum(seen) == len(LARGE)
    assert [row.range for row in hub.requests("bucc", status=206)] == ["bytes=100000-"]
    assert {row.token for row in hub.log} == {None}, "the hub's token is not for other hosts"
    assert files_in(tmp_path) == ["de-en.tar.bz2"]
    hub.log.clear()
    assert client.fetch_url(url, tmp_path) == found and not hub.log


def test_archive_goes_on_only_if_it_is_still_the_same(hub, tmp_path):
    url = hub.place("bucc/de-en.tar.bz2", LARGE)
    for other in (LARGE, LARGE[::-1]):
        hub.fail("bucc", ("cut", 100_000), *[("cut", 0)] * 4)
        with pytest.raises(UserError, match="100000 bytes are kept"):
            client.fetch_url(url, tmp_path)
        hub.place("bucc/de-en.tar.bz2", other)
        hub.log.clear()
        found = client.fetch_url(url, tmp_path)
        assert found.read_bytes() == other and files_in(tmp_path) == ["de-en.tar.bz2"]
        assert [row.status for row in hub.log] == [206 if other == LARGE else 200]
        found.unlink()
        hub.place("bucc/de-en.tar.bz2", LARGE)


def test_archive_that_was_complete_when_the_process_was_killed(hub, tmp_path):
    url, seen = hub.place("bucc/x.tar.bz2", LARGE), []
    hub.fail("bucc", ("cut", 100_000), *[("cut", 0)] * 4)
    with pytest.raises(UserError):
        client.fetch_url(url, tmp_path)
    (tmp_path / "x.tar.bz2.part").write_bytes(LARGE)
    hub.log.clear()
    assert client.fetch_url(url, tmp_path, progress=seen.append).read_bytes() == LARGE
    assert [row.status for row in hub.log] == [416] and sum(seen) == len(LARGE)
    assert files_in(tmp_path) == ["x.tar.bz2"]


def test_a_weak_etag_does_not_say_that_the_bytes_are_the_same(hub, tmp_path):
    url = hub.place("bucc/x.tar.bz2", LARGE, weak=True)
    hub.fail("bucc", ("cut", 100_000))
    assert client.fetch_url(url, tmp_path).read_bytes() == LARGE
    assert [(row.status, row.range) for row in hub.log] == [(200, None), (200, None)]
    assert files_in(tmp_path) == ["x.tar.bz2"]


def test_archive_that_is_gone_says_where_to_put_it(hub, tmp_path):
    with pytest.raises(UserError) as caught:
        client.fetch_url(f"{hub.url}/bucc/de-en.tar.bz2", tmp_path)
    assert "HTTP 404" in str(caught.value) and f"put it at {tmp_path}/de-en.tar.bz2" in str(caught.value)
    assert files_in(tmp_path) == []
