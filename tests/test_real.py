"""Every task and language of the real subsets, from the files to XTREME's scores, with a random tiny model.

`python tests/test_real.py DATA_ROOT` prints the number of examples of each task, language and split as Markdown.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from xstilts import files, study
from xstilts.data.gold import write_gold
from xstilts.data.prepare import prepare, sample
from xstilts.specs import Specs

FEW = 6  # examples that the model trains on and predicts, a language; all are read and checked
INTERMEDIATES = ["mnli", "anli", "qqp", "squad", "squad_v2", "hellaswag", "cosmosqa", "commonsenseqa"]  # no CCG here
LOCAL = {
    "udpos": "af ar bg de el en es et eu fa fi fr he hi hu id it ja ko mr nl pt ru ta te tr ur vi zh",  # no kk th tl yo
    "panx": "de en es nl ru sw yo",
    "bucc2018": "zh",
}


def plan(data_root) -> Specs:
    """All tasks and all languages that the real subsets hold, from the folder alone, nothing cut short."""
    config = {
        "study": "real",
        "sources": ["local"],
        "data_root": str(data_root),
        "languages": "all",
        "target_languages": {task: codes.split() for task, codes in LOCAL.items()},
        "grid": [{"models": ["tiny"], "intermediates": ["none", *INTERMEDIATES], "targets": "all", "seeds": [1]}],
        "training": {"preset": "xtreme-2020", "precision": "fp32", "trainable": "all"},
    }
    return Specs(study.load(config, "real.yaml"))


def prepare_all(specs: Specs, data_root, out: Path) -> dict:
    """{(task, language, split): counts of a full preparation}; files in <out>/examples and <out>/gold."""
    found = {}
    jobs = [specs.prepare_train(task) for task in specs.study.trained_tasks()]
    jobs += [specs.prepare_test(target) for target in specs.study.targets]
    for spec in jobs:
        for (language, split), counts in prepare(spec, out / "examples", out / "gold", data_root).items():
            found[spec["task"], language, split] = counts
    return found


def counts_table(found: dict) -> str:
    """Markdown: a row a task and split; languages of equal numbers together, then what was mended or left out."""
    lines = ["| task | split | examples | mended or left out |", "| --- | --- | --- | --- |"]
    for task, split in dict.fromkeys((task, split) for task, _, split in sorted(found)):
        rows = {language: counts for (name, language, part), counts in found.items() if (name, part) == (task, split)}
        numbers: dict[int, list[str]] = {}
        for language, counts in sorted(rows.items()):
            numbers.setdefault(counts["examples"], []).append(language)
        shown = "; ".join(f"{number:,}: {' '.join(codes)}" for number, codes in sorted(numbers.items(), reverse=True))
        mended = [
            f"{language}: {name} {number:,}"
            for language, counts in sorted(rows.items())
            for name, number in sorted(counts.items())
            if name != "examples" and number
        ]
        lines.append(f"| {task} | {split} | {shown} | {', '.join(mended)} |")
    return "\n".join(lines) + "\n"


def cut(specs: Specs, whole: Path, few: Path) -> None:
    """FEW examples of each file (of retrieval: pairs, with as many distractors in proportion), and their gold files."""
    for path in sorted((whole / "examples").glob("*/*/*.jsonl")):
        task, language = path.parts[-3:-1]
        entry = specs.tasks[task].identity
        rows = files.read_jsonl(path)
        if entry["kind"] == "span_qa":  # long contexts cost one character a token here
            rows = sorted(rows, key=lambda row: len(row["context"]))[: len(rows) // 2]
        rows = sample(rows, FEW, 1)
        files.write_jsonl(few / "examples" / task / language / path.name, rows)
        if path.stem == "test":
            write_gold(few / "gold", task, entry["kind"], entry["options"], language, rows)


@pytest.mark.real
def test_every_real_task_and_language_goes_from_the_files_to_scores(tmp_path, real_root, monkeypatch):
    from xstilts.evaluation import evaluate, retrieve
    from xstilts.models import fetch
    from xstilts.training import loop

    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # some 700 small files: waiting for the disk is most of it
    specs = plan(real_root)
    found = prepare_all(specs, real_root, tmp_path / "whole")
    for (task, language, split), counts in found.items():
        assert counts["examples"] >= (16 if task == "udpos" else 40), (task, language, split)
    cut(specs, tmp_path / "whole", tmp_path)
    model, out = tmp_path / "tiny", tmp_path / "predictions"
    fetch.fetch(specs.fetch_model("tiny"), model)
    cell = ("tiny", "none", 1)
    for task in specs.study.training_tasks(specs.study.targets):
        spec = specs.target(*cell, task)
        spec["tasks"][0]["hyper"] = {
            **spec["tasks"][0]["hyper"],
            "max_steps": 2,
            "batch_size": 4,
            "selection": "last",
        }
        loop.train(spec, model, None, tmp_path / "examples", tmp_path / task)
        job = specs.evaluate(*cell, task)
        evaluate.evaluate(job, model, tmp_path / task, tmp_path / "examples", out, tmp_path / "cost.json")
    job = specs.retrieval(*cell)
    retrieve.retrieve(job, model, None, tmp_path / "examples", out, tmp_path / "layers.jsonl", tmp_path / "cost.json")
    command = [sys.executable, "-m", "xstilts", "score", str(out), "--gold", str(tmp_path / "gold")]
    subprocess.run([*command, "--json", str(tmp_path / "scores.json"), "--partial"], check=True)
    scores = json.loads((tmp_path / "scores.json").read_text())
    for target in specs.study.targets:
        metrics = [name for name in scores[target] if not name.startswith("avg_")]
        assert "f1" in metrics or metrics == ["accuracy"]
        for metric in metrics:
            assert set(scores[target][metric]) == set(specs.study.languages(target))
            assert all(0 <= value <= 100 for value in scores[target][metric].values())
    assert sum(len(specs.study.languages(target)) for target in specs.study.targets) == 122


@pytest.mark.real
def test_what_the_real_subsets_lack_is_named_before_anything_runs(real_root):
    from xstilts.errors import UserError

    config = plan(real_root).study.config
    for task, languages in (("udpos", ["en", "th"]), ("panx", ["en", "fr"]), ("bucc2018", ["zh", "de"])):
        with pytest.raises(UserError, match=task):
            asked = {**config["target_languages"], task: languages}
            changed = Specs(study.load({**config, "target_languages": asked}, "real.yaml"))
            prepare(changed.prepare_test(task), "examples", "gold", real_root)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(counts_table(prepare_all(plan(sys.argv[1]), sys.argv[1], Path(folder))))
