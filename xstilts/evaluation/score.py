"""Official XTREME scores of a submission folder, in the structure of XTREME's own `evaluate.py`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from xstilts import files
from xstilts.errors import UserError
from xstilts.evaluation import examples_scores, metrics, submission

# The groups, tasks and language lists of `evaluate.py` (google-research/xtreme). They stand here and not in the
# catalog because they define what "official" means: a task added to the catalog must not change them.
GROUPS = {
    "classification": ("pawsx", "xnli"),
    "tagging": ("udpos", "panx"),
    "qa": ("xquad", "mlqa", "tydiqa"),
    "retrieval": ("bucc2018", "tatoeba"),
}
# In the order of `evaluate.py`: means are sums in this order, which shows in their last bit.
LANGUAGES = {
    "pawsx": "de en es fr ja ko zh",
    "xnli": "ar bg de el en es fr hi ru sw th tr ur vi zh",
    "panx": "ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw yo my zh "
    "kk tr et fi hu",
    "udpos": "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh",
    "bucc2018": "de fr ru zh",
    "tatoeba": "ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw zh kk tr et "
    "fi hu",
    "xquad": "en es de el ru tr ar vi th zh hi",
    "mlqa": "en es de ar hi vi zh",
    "tydiqa": "en ar bn fi id ko ru sw te",
}
LANGUAGES = {task: tuple(codes.split()) for task, codes in LANGUAGES.items()}
_KINDS = {"classification": "pair", "tagging": "tagging", "qa": "span_qa", "retrieval": "retrieval"}
KINDS = {task: _KINDS[group] for group, tasks in GROUPS.items() for task in tasks}
OPTIONS = {
    "xquad": {"normalisation": "squad"},
    "tydiqa": {"normalisation": "squad"},
    "mlqa": {"normalisation": "mlqa"},
    "bucc2018": {"mining": "margin"},
    "tatoeba": {"mining": "nearest"},
}


def score_folder(
    submission_dir: str | Path,
    gold_dir: str | Path,
    partial: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> dict:
    """Scores, 0-100: `all_task` and groups where complete, then for each task {metric: {language: value}, avg_*}.

    A task counts where the submission has its folder. `avg_metric` is the mean over languages, English included; for
    question answering the mean of average F1 and exact match. Without `partial` every official language of such a
    task must be there; with it, the languages that both folders have are scored, and groups and `all_task` are left
    out unless each of their tasks has its whole list. Values and the order of keys are those of `evaluate.py` (which
    adds up `all_task` in no fixed order; here it is the order of `LANGUAGES`). `note` is told of everything that was
    found and not scored. Raises `UserError` with the first file that is missing or wrong.
    """
    submission_dir, gold_dir = Path(submission_dir), Path(gold_dir)
    for folder in (submission_dir, gold_dir):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
    _strangers(submission_dir, LANGUAGES, "task of XTREME", note)
    tasks = [task for task in LANGUAGES if (submission_dir / task).is_dir()]
    if not tasks:
        raise UserError(f"{submission_dir}: has no task folder; expected some of: {' '.join(LANGUAGES)}")
    _lacking(submission_dir, gold_dir, tasks, note)
    details, complete = {}, set()
    for task in tasks:
        languages = _languages(task, submission_dir, gold_dir, partial, note)
        if languages == LANGUAGES[task]:
            complete.add(task)
        if languages:
            details[task] = _score_task(task, languages, submission_dir, gold_dir, note)
    if not details:
        raise UserError(f"{submission_dir} and {gold_dir}: no task and language that both have")
    overall = {}
    if complete == set(LANGUAGES):
        overall["all_task"] = metrics.mean(details[task]["avg_metric"] for task in LANGUAGES)
    for group, members in GROUPS.items():
        if complete.issuperset(members):
            overall[group] = metrics.mean(details[task]["avg_metric"] for task in members)
    return {**overall, **details}


def _strangers(folder: Path, known: Iterable[str], what: str, note: Callable) -> None:
    """Note what lies in a folder and has no known name: it may be a slip of the pen."""
    for path in sorted(folder.iterdir()):
        if path.name not in known and not path.name.startswith("."):
            note(f"{path}: ignored, its name is of no {what}")


def _lacking(submission_dir: Path, gold_dir: Path, tasks: list[str], note: Callable) -> None:
    """Note the tasks that are not scored for want of a folder in the submission, as the official evaluator does."""
    for task in LANGUAGES:
        path = submission_dir / task
        if task not in tasks and path.exists():
            note(f"{path}: ignored, it is a file; a task is a folder of test-<language> files")
    lacking = [task for task in LANGUAGES if task not in tasks and (gold_dir / task).is_dir()]
    if lacking:
        note(
            f"{submission_dir}: has no folder of {' '.join(lacking)}, which {gold_dir} has; what is there is scored, "
            "without all_task and the groups of these tasks"
        )


def _languages(task: str, submission_dir: Path, gold_dir: Path, partial: bool, note: Callable) -> tuple[str, ...]:
    if not (gold_dir / task).is_dir():
        text = f"{gold_dir / task}: no such folder, but {submission_dir / task} is there"
        if not partial:
            raise UserError(f"{text}; add it, or --partial to score the other tasks")
        note(f"{text}; {task} is not scored")
        return ()
    names = {language: submission.file_name(KINDS[task], language) for language in LANGUAGES[task]}
    _strangers(submission_dir / task, names.values(), f"official language of {task}", note)
    listed = [(folder, set(os.listdir(folder))) for folder in (submission_dir / task, gold_dir / task)]
    present = []
    for language, name in names.items():
        missing = [folder / name for folder, found in listed if name not in found]
        if not missing:
            present.append(language)
        elif not partial:
            raise UserError(
                f"{missing[0]}: no such file. The official score of {task} needs {len(LANGUAGES[task])} languages; "
                "add --partial to score the languages that are there"
            )
        elif len(missing) == 1:
            note(f"{missing[0]}: no such file; {task} is not scored in {language}")
    return tuple(present)


def _score_task(task: str, languages: tuple[str, ...], submission_dir: Path, gold_dir: Path, note: Callable) -> dict:
    kind, options = KINDS[task], OPTIONS.get(task, {})
    table: dict[str, dict[str, float]] = {}
    for language in languages:
        path = Path(task) / submission.file_name(kind, language)
        rows = examples_scores.statistics(task, kind, options, language, gold_dir / path, submission_dir / path, note)
        values = {name: metrics.aggregate(array) for name, array in rows.items()}
        if "f1" in rows and rows["f1"].shape[1] == 3:
            values = metrics.precision_recall_f1(rows["f1"])
        for name, value in values.items():
            table.setdefault(name, {})[language] = value
    averages = {f"avg_{name}": metrics.mean(values.values()) for name, values in table.items()}
    if kind == "span_qa":
        averages["avg_metric"] = (averages["avg_exact_match"] + averages["avg_f1"]) / 2
    else:
        averages["avg_metric"] = averages.get("avg_f1", averages.get("avg_accuracy"))
    return {**table, **averages}


def main(argv: list[str] | None = None) -> int:
    """`python -m xstilts score DIR --gold DIR [--json OUT] [--partial]`; nothing is written where a file is wrong."""
    parser = argparse.ArgumentParser(prog="python -m xstilts score", description=__doc__)
    parser.add_argument("submission", type=Path, help="folder with a sub-folder a task: test-<language>.tsv or .json")
    parser.add_argument("--gold", type=Path, required=True, help="folder of the same layout with the gold labels")
    parser.add_argument("--json", type=Path, help="file to write all scores to")
    parser.add_argument("--partial", action="store_true", help="score the languages that are there")
    arguments = parser.parse_args(argv)
    try:
        notes: list[str] = []
        result = score_folder(arguments.submission, arguments.gold, arguments.partial, notes.append)
        if arguments.json:  # not write_json, which sorts: the order of keys is the official one
            files.write_text(arguments.json, json.dumps(result, indent=1) + "\n")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for text in notes:
        print(f"note: {text}", file=sys.stderr)
    for name, value in result.items():
        if isinstance(value, dict):
            languages = len(next(iter(value.values())))
            average = ", ".join(f"{key[4:]} {value[key]:.2f}" for key in value if key.startswith("avg_"))
            note = "" if languages == len(LANGUAGES[name]) else f" of {len(LANGUAGES[name])}: not official"
            print(f"{name}: {average} ({languages}{note} languages)")
        else:
            print(f"{name}: {value:.2f}")
    return 0
