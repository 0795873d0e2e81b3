"""`xstilts pin` against a local hub: what it writes, what it refuses, and that a lock says what a download needs."""

import hashlib
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from xstilts import catalog as catalogs
from xstilts import pin
from xstilts.__main__ import main
from xstilts.errors import UserError
from xstilts.hub import layout, lock, parts

ROOT = Path(__file__).resolve().parent.parent
SQUAD, XLMR = "rajpurkar/squad", "FacebookAI/xlm-roberta-base"
CANDIDATES = catalogs.read_yaml(ROOT / "catalog" / "candidates.yaml")["candidates"]
SPLITS = ("train", "validation", "test")
MODEL = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"pieces"}


@pytest.fixture
def copy(tmp_path):
    """A temporary project with this catalog and these schemas, and nothing pinned."""
    shutil.copytree(ROOT / "catalog", tmp_path / "catalog")
    shutil.copytree(ROOT / "rules" / "schemas", tmp_path / "rules" / "schemas")
    lock.write(tmp_path / "catalog" / "revisions.lock", {})
    return tmp_path


@pytest.fixture
def run(copy):
    """run(names) -> (rows, what was printed) of one `pin` in the copy."""

    def run(*names):
        said = []
        try:
            return pin.pin(catalogs.load(copy), names, said.append), said
        except UserError as error:
            error.said = said
            raise

    return run


def declared(config, splits):
    """A card's row for a configuration in a folder of its own name."""
    files = [{"split": split, "path": f"{config}/{split}-*"} for split in splits]
    return {"config_name": config, "data_files": files}


def card(rows):
    return f"---\n{yaml.safe_dump({'configs': rows})}---\n# Card\n".encode()


def readme(*configs, splits=("train", "validation")):
    return card([declared(config, splits) for config in configs])


def squad(**more):
    files = {f"plain_text/{split}-00000-of-00001.parquet": split.encode() for split in ("train", "validation")}
    return {"README.md": readme("plain_text"), ".gitattributes": b"", **files, **more}


# ---- what is written
def test_a_row_holds_the_commit_the_splits_and_the_needed_files_with_their_digests(hub, copy, run):
    data = hub.add("dataset", SQUAD, squad(**{"other/x.parquet": b"x"}), revision=CANDIDATES[SQUAD]["revision"])
    model = hub.add("model", XLMR, {**MODEL, "pytorch_model.bin": b"p", "onnx/model.safetensors": b"o"})
    rows, said = run("squad", "xlm-r-base")
    train, dev = (f"plain_text/{split}-00000-of-00001.parquet" for split in ("train", "validation"))
    assert rows[SQUAD]["revision"] == data and rows[SQUAD]["kind"] == "dataset"
    assert rows[SQUAD]["configs"] == {"plain_text": {"train": [train], "validation": [dev]}}
    assert rows[SQUAD]["files"] == {
        train: {"bytes": 5, "sha256": hashlib.sha256(b"train").hexdigest()},
        dev: {"bytes": 10, "sha256": hashlib.sha256(b"validation").hexdigest()},
    }
    assert rows[XLMR]["revision"] == model and set(rows[XLMR]["files"]) == set(MODEL)
    assert rows[XLMR]["files"]["config.json"] == {"bytes": 2, "sha1": hashlib.sha1(b"blob 2\0{}").hexdigest()}
    assert said[0] == f"{SQUAD}: {data[:12]}, 2 files, 0.0 MB (candidate confirmed)"
    assert f"{model[:12]}, 3 files, 0.0 MB (head of main; the hub does not know the candidate e736" in said[1]
    assert not [request for request in hub.log if request.path.endswith((".parquet", ".safetensors"))]
    # what is written is what is read
    assert catalogs.load(copy).revisions == rows == lock.read(copy / "catalog" / "revisions.lock")
    assert lock.files(rows, SQUAD, "plain_text", "train", "squad") == {train: rows[SQUAD]["files"][train]}
    assert set(lock.model_files(rows, XLMR, "xlm-r-base")) == set(MODEL)


def test_a_row_serves_every_task_that_reads_the_repository(hub, run):
    """google/xtreme: five tasks, the configurations of all their languages, in one row, quickly."""
    catalog = catalogs.load()
    configs = [
        config
        for task in catalog.tasks.values()
        for part in task.sources.get("hub", [])
        if part["id"] == "google/xtreme"
        for config in parts.configs(part, task.identity["languages"])
    ]
    test_only = "udpos.Yoruba"
    splits = {config: ("train", "validation", "test") if config != test_only else ("test",) for config in configs}
    files = {f"{config}/{split}-0-of-1.parquet": b"" for config in configs for split in splits[config]}
    rows_of_card = [declared(config, splits[config]) for config in configs]
    hub.add("dataset", "google/xtreme", {"README.md": card(rows_of_card), **files})
    started = time.perf_counter()
    rows, _ = run("panx")
    assert time.perf_counter() - started < 20  # asking `datasets` once for each configuration took longer
    assert set(rows["google/xtreme"]["configs"]) == set(configs) and len(configs) == 40 + 33 + 7 + 4 + 36
    assert {"PAN-X.sw", "udpos.German", "MLQA.de.de", "bucc18.zh", "tatoeba.cmn"} < set(configs)
    row = rows["google/xtreme"]
    assert row["configs"]["tatoeba.cmn"]["validation"] == ["tatoeba.cmn/validation-0-of-1.parquet"]
    assert set(row["configs"][test_only]) == {"test"}
    with pytest.raises(
        UserError, match=f"udpos: google/xtreme at .* no configuration {test_only!r} with a split 'train'"
    ):
        lock.files(rows, "google/xtreme", test_only, "train", "udpos")


def test_a_tokenizer_may_lie_in_another_repository(hub, run):
    name = "microsoft/Multilingual-MiniLM-L12-H384"
    hub.add("model", name, {key: MODEL[key] for key in ("config.json", "model.safetensors")})
    hub.add("model", XLMR, MODEL)
    rows, _ = run("multilingual-minilm-l12")
    assert set(rows) == {name, XLMR} and set(rows[name]["files"]) == {"config.json", "model.safetensors"}


def test_several_weight_files_come_with_their_index(hub, run):
    parts = {f"model-0000{number}-of-00002.safetensors": b"w" for number in (1, 2)}
    index = {"model.safetensors.index.json": b"{}"}
    hub.add("model", XLMR, {"config.json": b"{}", "tokenizer.json": b"t", **parts, **index})
    assert set(run("xlm-r-base")[0][XLMR]["files"]) == {"config.json", "tokenizer.json", *parts, *index}


def test_a_commit_of_the_conversion_branch_is_read_by_its_file_names(hub, run):
    """CosmosQA: a script on main; the candidate is a commit of refs/convert/parquet."""
    name, branch = "allenai/cosmos_qa", "refs/convert/parquet"
    hub.add("dataset", name, {"cosmos_qa.py": b"", "README.md": b""})
    files = {f"default/{split}/0000.parquet": b"x" for split in ("train", "validation", "test")}
    revision = hub.add("dataset", name, files, branch=branch)
    rows, said = run("cosmosqa")
    assert rows[name]["revision"] == revision and f"head of {branch}" in said[0]
    assert rows[name]["configs"]["default"]["train"] == ["default/train/0000.parquet"]


# ---- which commit
def test_a_candidate_without_the_needed_files_is_not_taken(hub, run):
    hub.add("model", XLMR, {"config.json": b"{}", "pytorch_model.bin": b""}, revision=CANDIDATES[XLMR]["revision"])
    head = hub.add("model", XLMR, MODEL)
    rows, said = run("xlm-r-base")
    assert rows[XLMR]["revision"] == head
    assert "(head of main; candidate e73636d4f797: no .safetensors file (it holds config.json, pytor" in said[0]


def test_what_is_pinned_stays_until_its_row_is_taken_out(hub, copy, run):
    path = copy / "catalog" / "revisions.lock"
    first = hub.add("dataset", SQUAD, squad())
    lock.write(path, {SQUAD: {**run("squad")[0][SQUAD], "pinned_on": "2020-01-01"}})
    before = path.read_bytes()
    newer = hub.add("dataset", SQUAD, squad(**{"plain_text/train-00000-of-00001.parquet": b"newer"}))
    rows, said = run("squad")
    assert rows[SQUAD]["revision"] == first and "earlier pin confirmed" in said[0]
    assert path.read_bytes() == before
    lock.write(path, {})
    assert run("squad")[0][SQUAD]["revision"] == newer


def test_another_revision_of_a_pinned_id_says_what_becomes_stale(hub, copy, run):
    hub.add("dataset", SQUAD, squad())
    old = run("squad")[0][SQUAD]["revision"]
    new = hub.add("dataset", SQUAD, squad(x=b""), revision=CANDIDATES[SQUAD]["revision"])
    rows, said = run("squad")
    assert rows[SQUAD]["revision"] == new
    assert f"CHANGED from {old[:12]} to {new[:12]}" in said[1]
    assert "prepared data of squad" in said[1] and "xstilts fetch" in said[1]


def test_other_content_behind_a_pinned_commit_is_refused(hub, copy, run):
    path = "plain_text/train-00000-of-00001.parquet"
    hub.add("dataset", SQUAD, squad())
    before = run("squad")[0]
    hub.tamper(SQUAD, path, b"forged")
    with pytest.raises(UserError, match=f"{path} at the pinned commit .* was .*, the hub now says .*cannot"):
        run("squad")
    assert lock.read(copy / "catalog" / "revisions.lock") == before


# ---- several processes, and a killed one
def test_two_pins_at_once_keep_each_others_rows(hub, copy):
    hub.add("dataset", SQUAD, squad())
    hub.add("dataset", "Rowan/hellaswag", {"README.md": b"", **{f"data/{s}-0.parquet": b"" for s in SPLITS}})
    hub.add("model", XLMR, MODEL)
    path = copy / "catalog" / "revisions.lock"
    catalog = catalogs.load(copy)

    def other(line):
        if line.startswith(SQUAD):
            pin.pin(catalog, ["hellaswag"], lambda _: None)

    rows = pin.pin(catalog, ["squad", "xlm-r-base"], other)
    assert set(rows) == set(lock.read(path)) == {SQUAD, XLMR, "Rowan/hellaswag"}


def test_rows_of_many_writers_are_all_there(tmp_path):
    path, names = tmp_path / "revisions.lock", [f"a/{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: lock.update(path, {name: lock_row()}), names))
    assert set(lock.read(path)) == set(names) and [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("how", [KeyboardInterrupt, RuntimeError])
def test_every_id_is_written_as_soon_as_it_is_known(hub, copy, how):
    hub.add("dataset", SQUAD, squad())
    hub.add("model", XLMR, MODEL)

    def say(line):
        if line.startswith(XLMR):
            raise how

    with pytest.raises(how):
        pin.pin(catalogs.load(copy), ["squad", "xlm-r-base"], say)
    assert set(lock.read(copy / "catalog" / "revisions.lock")) == {SQUAD}


@pytest.mark.parametrize(
    "command", [["pin", "squad"], ["check", "studies/tiny.yaml"], ["fetch", "studies/tiny.yaml", "--to", "x"]]
)
def test_ctrl_c_is_one_line(monkeypatch, capsys, command):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogs, "load", stop)
    monkeypatch.setattr("xstilts.check.page.load_file", stop)
    monkeypatch.setattr("xstilts.check.page.check", stop)
    assert main(command) == 130
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("stopped; what was written is kept.")


def test_ctrl_c_that_a_command_explains_is_still_ctrl_c(monkeypatch, capsys):
    def fetch(*_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise UserError("stopped. What arrived is kept in x") from None

    monkeypatch.setattr("xstilts.fetch.fetch", fetch)
    assert main(["fetch", "studies/tiny.yaml", "--to", "x"]) == 130
    assert capsys.readouterr().err == "error: stopped. What arrived is kept in x\n"


# ---- what is refused
def test_a_list_of_files_that_was_cut_is_no_row(hub, copy, run):
    """The configuration's pattern matches what is left of it, so `datasets` notices nothing."""
    shards = {f"plain_text/train-{number:05}-of-00004.parquet": b"x" for number in range(4)}
    whole = {"README.md": readme("plain_text"), "plain_text/validation-00000-of-00001.parquet": b"x", **shards}
    hub.page, hub.described = 2, 1
    hub.add("dataset", SQUAD, whole)
    assert run("squad")[0][SQUAD]["configs"]["plain_text"]["train"] == [*shards]
    lock.write(copy / "catalog" / "revisions.lock", {})
    hub.add("dataset", SQUAD, {path: data for path, data in whole.items() if "00002-of" not in path})
    with pytest.raises(UserError, match=r"'train': plain_text/train-00002-of-00004 of its files are not there.*pin"):
        run("squad")
    assert lock.read(copy / "catalog" / "revisions.lock") == {}


def test_weights_that_are_not_all_there_are_refused(hub, run):
    index = {"model.safetensors.index.json": b"{}", "config.json": b"{}", "tokenizer.json": b"t"}
    hub.add("model", XLMR, {**index, "model-00001-of-00003.safetensors": b"", "model-00003-of-00003.safetensors": b""})
    with pytest.raises(UserError, match="the weights model-00002-of-00003 are not there"):
        run("xlm-r-base")


def test_a_name_that_no_folder_can_hold_stops_one_id_alone(hub, copy, run):
    hub.add("dataset", SQUAD, squad())
    hub.add("dataset", "Rowan/hellaswag", squad(**{f"{'x' * 300}.parquet": b""}))
    with pytest.raises(UserError, match="1 of 2 ids") as caught:
        run("hellaswag", "squad")
    assert re.search(r"- Rowan/hellaswag .*'x{100}' cannot be made .*File name too long", str(caught.value))
    assert set(lock.read(copy / "catalog" / "revisions.lock")) == {SQUAD}


def test_a_setting_that_is_no_number_is_said_once(hub, run, monkeypatch):
    monkeypatch.setenv("XSTILTS_RETRY_WAIT", "abc")
    with pytest.raises(UserError, match=r"^XSTILTS_RETRY_WAIT=abc: allowed"):
        run("squad", "xlm-r-base")


def test_a_config_value_that_is_no_yaml_is_named(capsys):
    assert main(["check", "studies/tiny.yaml", "--config", "data_root=["]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: --config data_root=[: a value is no YAML") and err.count("\n") == 1


def test_all_failures_come_together_and_the_others_are_pinned(hub, copy, run):
    hub.add("dataset", SQUAD, squad())
    hub.add("dataset", "rajpurkar/squad_v2", {"squad_v2.py": b"", "README.md": b""})
    hub.add("model", XLMR, {"config.json": b"{}", "model.safetensors": b"w"})
    hub.add("dataset", "Rowan/hellaswag", squad())
    hub.fail("/api/datasets/Rowan/hellaswag", *[503] * 100)
    lock.write(copy / "catalog" / "revisions.lock", {"some/other": lock_row()})
    with pytest.raises(UserError) as caught:
        run("squad", "squad_v2", "xlm-r-base", "hellaswag")
    text = str(caught.value)
    assert text.startswith("catalog/revisions.lock: 3 of 4 ids could not be pinned")
    assert "- rajpurkar/squad_v2 (squad_v2): " in text and "a loading script (squad_v2.py), which is never run" in text
    assert "no tokenizer.json (it holds config.json, model.safetensors). Next: name the repository" in text
    assert re.search(r"- Rowan/hellaswag \(hellaswag\): .*503.* busy or down", text) and text.endswith(
        "what is pinned stays as it is."
    )
    assert set(lock.read(copy / "catalog" / "revisions.lock")) == {SQUAD, "some/other"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": b"", "README.md": b""}, r"no parquet file: it holds README.md, a.csv"),
        (
            {"README.md": readme("plain", splits=["train"]), "plain/train-0.parquet": b""},
            r"no configuration plain_text; it has plain \(did you mean plain\?",
        ),
        (
            {"README.md": readme("plain_text", splits=["train"]), "plain_text/train-0.parquet": b""},
            r"task squad reads the split 'validation' of configuration plain_text, which has train: mend",
        ),
        ({**squad(), "README.md": b"---\nconfigs: [\n---\n"}, r"`datasets` finds no data set in its README.md"),
    ],
)
def test_a_data_set_that_is_not_as_the_catalog_says(hub, run, files, message):
    hub.add("dataset", SQUAD, files)
    with pytest.raises(UserError, match=message):
        run("squad")


def test_every_language_needs_its_test_split(hub, run):
    task = catalogs.load().tasks["pawsx"]
    paws, languages = task.sources["hub"][0], task.identity["languages"]
    splits = {
        code: ["train", "validation", *(["test"] if code != "ja" else [])] for code in parts.configs(paws, languages)
    }
    files = {f"{code}/{split}-0.parquet": b"" for code in splits for split in splits[code]}
    rows = [declared(code, splits[code]) for code in splits]
    hub.add("dataset", "google-research-datasets/paws-x", {"README.md": card(rows), **files})
    with pytest.raises(UserError, match=r"task pawsx reads the split 'test' of configuration ja, which has train, val"):
        run("pawsx")


def test_a_file_that_the_catalog_names_and_the_repository_has_not(hub, run):
    files = {"default/train/0000.parquet": b"", "default/valid/0000.parquet": b""}
    hub.add("dataset", "allenai/cosmos_qa", files, branch="refs/convert/parquet")
    with pytest.raises(UserError, match=r"no file default/validation/0000.parquet .*default/train/0000.parquet"):
        run("cosmosqa")


def test_a_gated_repository_says_how_to_get_in(hub, run):
    hub.add("dataset", SQUAD, squad())
    hub.gate(SQUAD, hidden=True)
    with pytest.raises(UserError, match=r"(?s)rajpurkar/squad .*(gated|refuses).*(token|log in|login)"):
        run("squad")


def test_a_name_that_is_not_in_the_catalog(run):
    with pytest.raises(UserError, match=r"'sqad' is neither a task nor a model of the catalog. Did you mean 'squad'"):
        run("sqad")


@pytest.mark.parametrize("offline", [True, False])
def test_without_the_hub_it_stops_at_the_first_id_and_the_lock_stays(copy, run, monkeypatch, tmp_path, offline):
    for key, value in {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": str(int(offline))}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("XSTILTS_RETRY_WAIT", "0.01")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    before = (copy / "catalog" / "revisions.lock").read_bytes()
    expected = (
        r"pin: HF_HUB_OFFLINE is set" if offline else r"stopped, nothing was changed.* cannot be reached from here"
    )
    with pytest.raises(UserError, match=expected) as caught:
        run()
    assert caught.value.said == []
    assert (copy / "catalog" / "revisions.lock").read_bytes() == before


def test_on_the_command_line_it_prints_one_line_an_id(hub, copy, monkeypatch, capsys):
    hub.add("dataset", SQUAD, squad())
    load = catalogs.load
    monkeypatch.setattr(catalogs, "load", lambda: load(copy))
    assert main(["pin", "squad"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.startswith(f"{SQUAD}: ") and "2 files, 0.0 MB" in out
    assert main(["pin", "squad", "xlm-r-base"]) == 1
    assert f"- {XLMR} (multilingual-minilm-l12, xlm-r-base): " in capsys.readouterr().err


# ---- the rules of `datasets`
TWO = ["data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"]
PATTERNS = [f"{folder}/x-{n:05}-of-0000{of}.parquet" for folder, of in (("a", 2), ("b", 3)) for n in range(of)]
BOTH = {"config_name": "both", "data_files": [{"split": "train", "path": ["a/*", "b/*"]}]}
DIGESTS = [f"data/train-{number:05}-of-00002-{digest}.parquet" for number, digest in enumerate(("6e58aa", "01b2cc"))]
SAMPLE = {"config_name": "sample", "data_files": [{"split": "train", "path": "x/train-0000[01]-of-00020.parquet"}]}
SHARDS = [f"x/train-{number:05}-of-00020.parquet" for number in range(20)]


@pytest.mark.parametrize(
    ("card", "paths", "config", "expected"),
    [
        (None, TWO, "default", {"train": [TWO[0]], "validation": [TWO[1]]}),
        ("# no metadata", [*TWO, "dataset_infos.json"], "default", {"train": [TWO[0]], "validation": [TWO[1]]}),
        (readme("x", splits=["train"]).decode(), [*SHARDS[::-1], "y/train-0.parquet"], "x", {"train": SHARDS}),
        (None, ["default/test/0000.parquet"], "default", {"test": ["default/test/0000.parquet"]}),
        # two sets in one split; shards with digests in their names; a sample of a set that is there
        (card([BOTH]).decode(), PATTERNS, "both", {"train": PATTERNS}),
        (None, DIGESTS, "default", {"train": DIGESTS}),
        (card([SAMPLE]).decode(), SHARDS, "sample", {"train": SHARDS[:2]}),
        # counted from 1
        (None, ["data/train-00001-of-00002.parquet", "data/train-00002-of-00002.parquet"], "default", None),
    ],
)
def test_splits_are_found_by_the_rules_of_datasets(card, paths, config, expected, capfd):
    found = layout.splits("a/b", card, paths, [config])
    assert found[config] == (expected or {"train": paths})
    assert capfd.readouterr() == ("", "")  # no progress bar, no warning


@pytest.mark.parametrize(
    ("card", "paths", "config", "message"),
    [
        (None, TWO, "plain_text", r"a/b: no configuration plain_text; it has default"),
        (None, ["../x.parquet"], "default", r"'../x.parquet', which leads out of a folder"),
        (None, ["a", "a/x.parquet"], "default", r"'a/x.parquet' cannot be made .*: (File exists|Not a directory)"),
        (None, ["x\ud800.parquet"], "default", r"a file of the name .* cannot be made"),
        (None, DIGESTS[1:], "default", r"data/train-00000-of-00002 of its files are not there"),
        (card([BOTH]).decode(), PATTERNS[:-1], "both", r"'train': b/x-00002-of-00003 of its files are not there"),
        (None, ["a.csv", "b.csv", "c.parquet"], "default", r"most of its files are read as csv"),
        (
            readme("x", "y", splits=["test"]).decode(),
            ["x/test-0.parquet"],
            "y",
            r"configuration 'y'.* files .* not there",
        ),
    ],
)
def test_a_layout_that_cannot_be_read_is_refused(card, paths, config, message):
    with pytest.raises(UserError, match=message):
        layout.splits("a/b", card, paths, [config])


def test_datasets_leaves_nothing_in_the_users_cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    bars = datasets.are_progress_bars_disabled()
    layout.splits("a/b", None, TWO, ["default"])
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]
    assert datasets.are_progress_bars_disabled() == bars


# ---- the lock
def lock_row(**changes):
    files = {"x.parquet": {"bytes": 1, "sha256": "0" * 64}}
    row = {"revision": "1" * 40, "kind": "dataset", "pinned_on": "2026-01-01", "configs": {"de": {"test": [*files]}}}
    return {**row, "files": files, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"revision": "main"}, "revision: 'main' is no commit of 40 hex digits"),
        ({"kind": "space"}, "kind: 'space'; allowed: dataset, model"),
        ({"configs": None}, "files or configs: missing"),
        ({"files": {"x.parquet": None}}, "files: x.parquet: None is no"),
        ({"files": {"../x": {"bytes": 1, "sha1": "0"}}}, "leads out of the repository"),
        ({"configs": {"de": {"test": ["y.parquet"]}}}, "configs: y.parquet is not under files"),
        ({"configs": {"de": {"test": [{"x": 1}]}}}, "configs: {'x': 1} is not under files"),
        ({"configs": {"de": ["x.parquet"]}}, r"configs: de: \['x.parquet'\] is no {split: \[path\]}"),
        ({"configs": {"de": {"test": "x.parquet"}}}, r"configs: de: .* is no {split: \[path\]}"),
        ({"configs": {"de": {"test": []}}}, r"configs: de: .* is no {split: \[path\]}"),
        ({"files": {7: {"bytes": 1, "sha1": "0"}}}, "files: 7: leads out"),
        ({"revision": int("1" * 40)}, "revision: 1{40} is no commit"),
    ],
)
def test_a_damaged_lock_names_the_row_and_the_way_back(tmp_path, changes, message):
    lock.write(tmp_path / "revisions.lock", {"a/b": lock_row(**changes)})
    with pytest.raises(UserError, match=rf"revisions.lock: a/b: .*{message}.*xstilts pin"):
        lock.read(tmp_path / "revisions.lock")


def test_no_lock_is_an_empty_one_and_a_broken_one_is_named(tmp_path):
    assert lock.read(tmp_path / "revisions.lock") == {}
    (tmp_path / "revisions.lock").write_text("a: [", encoding="utf-8")
    with pytest.raises(UserError, match=r"revisions.lock: cannot be read.*xstilts pin"):
        lock.read(tmp_path / "revisions.lock")


@pytest.mark.parametrize(
    ("name", "config", "split", "message"),
    [
        ("a/c", "de", "test", r"xnli: a/c has no pinned revision .*run `python -m xstilts pin`"),
        ("a/b", "den", "test", r"no configuration 'den'; it has de \(did you mean 'de'\?\).*xstilts pin"),
        ("a/b", "de", "dev", r"xnli: a/b at 111111111111: .*'de' with a split 'dev'; it has test"),
    ],
)
def test_a_file_that_is_not_in_the_lock_says_what_is(name, config, split, message):
    with pytest.raises(UserError, match=message):
        lock.files({"a/b": lock_row()}, name, config, split, "xnli")


def test_a_data_set_is_no_model():
    with pytest.raises(UserError, match="a/b is pinned as a dataset, needed as a model"):
        lock.model_files({"a/b": lock_row()}, "a/b", "mine")


# ---- templates
def test_templates_are_filled_with_code_and_name():
    part = {"config": "x.{language}.{code}.{language_name}", "codes": {"zh": "cmn"}, "languages": ["zh", "de"]}
    assert parts.configs(part, ["de", "zh", "fr"]) == ["x.de.de.German", "x.zh.cmn.Chinese"]
    assert parts.configs({"config": "plain"}, ["de", "zh"]) == ["plain"]
    assert parts.fill("{language_name}", {}, "xx", {"xx": {"name": "Faroese"}}) == "Faroese"
    with pytest.raises(UserError, match=r"template '\{lang\}' cannot be filled .*Allowed: \{language\}"):
        parts.fill("{lang}", {"id": "a/b"}, "de")
    with pytest.raises(UserError, match=r"languages.yaml: no language 'xx'"):
        parts.language_name("xx")
