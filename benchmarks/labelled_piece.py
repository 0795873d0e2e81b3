"""Which piece of a word should carry its tag? UDPOS, a small real model, real English training, every real language.

`python -m benchmarks labelled_piece` measures (one thread: OMP_NUM_THREADS=1), `python -m benchmarks.labelled_piece`
prints benchmarks/results/labelled_piece.json as Markdown. Each choice trains the same way (preset `demo` with STEPS
steps, bf16, embeddings frozen). The choice between them is read off the validation sets; test is shown beside it.
Checkpoints stay in work/labelled_piece/<version of the training code>, and a stopped run goes on from them.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks import real
from xstilts import catalog, files
from xstilts.data.kinds.tagging import LABELLED_PIECES
from xstilts.identity import stage_code

MODEL, STEPS = "me5-small-l6", 750  # 8,000 sentences three times, in batches of 32
SPLITS = {"dev": "validation", "test": "test"}
RESULTS = Path(__file__).resolve().parent / "results"
WORK = Path(__file__).resolve().parent.parent / "work" / "labelled_piece"


def labelled_piece(seeds: Sequence[int] = (1,), work: Path = WORK) -> list[dict]:
    """One row a seed, choice, split and language: official F1 and accuracy of words (0-100), the same of tagging every
    word NOUN (`noun_f1`, near 0 as a sentence becomes one chunk; `noun_accuracy`), `boundary` = share (0-100) of the
    words whose first piece is the bare word boundary, `n` sentences."""
    from xstilts.evaluation.predict import Predictor
    from xstilts.models import loading
    from xstilts.training import loop

    root, work = real.data_root("udpos"), work / stage_code("train")
    if root is None:
        return []
    known = catalog.load()
    task, model_dir, data = known.tasks["udpos"].identity, real.model(MODEL), _examples(root / "udpos")
    for split in ("train", "dev"):
        files.write_jsonl(work / "examples" / "udpos" / "en" / f"{split}.jsonl", data[split, "en"])
    rows, levels = [], None
    for seed in seeds:
        for choice in LABELLED_PIECES:
            hyper = {**known.preset("udpos", "demo"), "max_steps": STEPS, "labelled_piece": choice}
            head = {"task": "udpos", "kind": "tagging", "labels": task["labels"], "options": task["options"]}
            spec = {
                "stage": "target",
                "code": "benchmark",
                "model": {"name": MODEL},
                "intermediate": "none",
                "seed": seed,
                "precision": "bf16",
                "trainable": "blocks",
                "tasks": [{**head, "hyper": hyper, "languages": ["en"]}],
            }
            out = work / f"{choice}-s{seed}"
            if not (out / "train.json").is_file():
                loop.train(spec, model_dir, None, work / "examples", out)
            model = loading.load(model_dir, out)
            levels = levels or {key: _levels(examples, model.tokenizer) for key, examples in data.items()}
            predictor = Predictor(model, **head, hyper=hyper, precision="bf16")
            for (split, language), examples in data.items():
                if split in SPLITS:
                    scores = _scores(examples, [prediction["tags"] for prediction in predictor.predict(examples)])
                    place = {"seed": seed, "labelled_piece": choice, "split": split, "language": language}
                    rows.append({**place, **scores, **levels[split, language], "n": len(examples)})
            files.write_json(work / "rows.json", rows)  # a long run that is stopped leaves what it has
    return rows


def _examples(folder: Path) -> dict[tuple[str, str], list[dict]]:
    """{(split, language): examples}: English training, and validation and test of every language that has them."""
    found = {("train", "en"): _read(folder / "en" / "train.jsonl")}
    for split, name in SPLITS.items():
        for path in sorted(folder.glob(f"*/{name}.jsonl")):
            found[split, path.parent.name] = _read(path)
    return found


def _read(path: Path) -> list[dict]:
    rows = files.read_jsonl(path)
    return [{"id": str(i), "tokens": row["tokens"], "tags": row["pos_tags"]} for i, row in enumerate(rows)]


def _scores(examples: Sequence[dict], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    from xstilts.evaluation import metrics

    gold = [row["tags"] for row in examples]
    right = [a == b for pair in zip(gold, predicted, strict=True) for a, b in zip(*pair, strict=True)]
    f1 = metrics.score("tagging", {"scheme": "flat"}, "en", gold, predicted)["f1"]
    return {"f1": round(f1, 2), "accuracy": round(100 * statistics.mean(right), 2)}


def _levels(examples: Sequence[dict], tokenizer) -> dict[str, float]:
    """The level of knowing nothing, and how often the first piece of a word is a bare boundary."""
    from xstilts.data.kinds.sequences import ids_of

    words = [word for row in examples for word in row["tokens"]]
    ids, bare = ids_of(words, tokenizer), tokenizer.token_to_id("▁")
    share = sum(ids[word][:1] == [bare] for word in words) / len(words)
    noun = _scores(examples, [["NOUN"] * len(row["tags"]) for row in examples])
    return {**{f"noun_{name}": value for name, value in noun.items()}, "boundary": round(100 * share, 1)}


def table(rows: Sequence[dict]) -> str:
    """Markdown: a row a language with the means over seeds of each choice, then the means over languages."""
    choices = [choice for choice in LABELLED_PIECES if any(row["labelled_piece"] == choice for row in rows)]
    columns = [("dev", "f1", "dev F1"), ("test", "f1", "test F1"), ("dev", "accuracy", "dev accuracy")]
    titles = [f"{title} {choice}" for _, _, title in columns for choice in choices]
    lines = ["| language | bare % | " + " | ".join(titles) + " | dev accuracy all NOUN |"]
    lines.append("| --- |" + " --: |" * (2 + len(titles)))
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        for language in (row["language"], "mean"):
            groups.setdefault((language, row["split"], row["labelled_piece"]), []).append(row)

    def mean(language: str, split: str, choice: str, key: str) -> str:
        found = groups.get((language, split, choice))
        return f"{statistics.mean(row[key] for row in found):.1f}" if found else "–"

    for language in [*sorted({row["language"] for row in rows}), "mean"]:
        cells = [mean(language, "dev", choices[0], "boundary")]
        cells += [mean(language, split, choice, key) for split, key, _ in columns for choice in choices]
        cells.append(mean(language, "dev", choices[0], "noun_accuracy"))
        lines.append(f"| {language} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the stored results as Markdown."""
    print(table(json.loads((RESULTS / "labelled_piece.json").read_text(encoding="utf-8"))["rows"]))


if __name__ == "__main__":
    main()
