"""The prepare stage: a source's rows become checked, sampled, normalised examples and gold files."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from xstilts import files
from xstilts.data import checks, sources
from xstilts.data.examples import look_up, normalise
from xstilts.data.gold import write_gold
from xstilts.errors import UserError

MANY = 100_000  # lines of text kept beyond the cap before the sample is taken


def prepare(
    spec: dict,
    examples_dir: str | Path,
    gold_dir: str | Path | None,
    data_root: str | Path | None = None,
    revisions: str | Path | None = None,
    licensed: str | Path | None = None,
) -> dict[tuple[str, str], Counter]:
    """Write <examples_dir>/<task>/<language>/<split>.jsonl and the gold file of each test split.

    `spec` is the job's identity (task, kind, labels, options, languages, splits {name: cap}, source, parts, seed); the
    paths cannot change the result. Every split is written in all `languages`, but in those of `split_languages` where
    that names the split. All is read and checked before the first file is written. Returns {(language, split): counts
    of what was kept, dropped, mended}.
    """
    places = [Path(place) if place else None for place in (data_root, revisions, licensed)]
    done, reports = [], {}
    for split, cap in spec["splits"].items():
        for language in spec.get("split_languages", {}).get(split, spec["languages"]):
            counts: Counter = Counter()
            examples = build(spec, language, split, cap, places, counts)
            counts["examples"] = len(examples)
            reports[language, split] = counts
            done.append((language, split, examples))
    for language, split, examples in done:
        files.write_jsonl(Path(examples_dir, spec["task"], language, f"{split}.jsonl"), examples)
        if split == "test" and gold_dir is not None:
            write_gold(gold_dir, spec["task"], spec["kind"], spec["options"], language, examples)
    return reports


def build(
    spec: dict, language: str, split: str, cap: int | None, places: list[Path | None], counts: Counter
) -> list[dict]:
    """Checked examples of one language and split, in source order (retrieval: source rows, then target rows)."""
    kind, options, what = spec["kind"], spec["options"], f"{spec['task']} {language} {split}"
    parts = [part for part in spec["parts"] if selection(part, split, kind, options)]
    if not parts:
        raise UserError(f"{what}: source {spec['source']!r} has no split {split!r}; see `splits` in the catalog entry")
    parts = [part for part in parts if language in part.get("languages", [language])]
    if not parts:
        raise UserError(f"{what}: source {spec['source']!r} has no {language}; leave it out, or use another source")
    examples = []
    for part in parts:
        source_split, low, high = selection(part, split, kind, options)
        enough = cap if (low, high) == (0.0, 1.0) else None
        request = sources.Request(
            spec["task"],
            kind,
            options,
            part,
            language,
            source_split,
            enough,
            spec["seed"],
            *places,
            language_names=spec.get("language_names"),
        )
        rows = _read(spec, request, counts, enough)
        examples += [row for row in rows if low <= _hash("hold_out", _unit(row)) < high]
    if kind == "span_qa":
        examples = checks.usable_answers(examples, split, what, counts)
    examples = sample(examples, cap, spec["seed"])
    if kind == "retrieval":
        targets = [row for row in examples if row["side"] == "target"]
        if options["mining"] == "nearest":
            targets.sort(key=lambda row: (row["text"], row["id"]))
        examples = [row for row in examples if row["side"] == "source"] + targets
    checks.check_file(kind, examples, options, what)
    return examples


def _read(spec: dict, request: sources.Request, counts: Counter, enough: int | None) -> list[dict]:
    part, kind = request.part, spec["kind"]
    condition = part.get("filter")
    start = request.fill(condition["prefix"]).lower() if condition else ""
    # Ids of several parts could meet: the part's name and split keep them apart ("snli/train:17").
    prefix = f"{_part_name(part)}/{request.split}:" if len(spec["parts"]) > 1 else ""
    examples, number = [], -1
    for where, row in sources.read(spec["source"], request):
        if condition and not str(look_up(row, condition["field"], where)).startswith(start):
            continue
        number += 1  # of the rows that are left: a fetched folder holds no others
        found = normalise(kind, row, part, f"{request.split}-{number}", request.language, where, counts)
        for example in found:
            checks.check_example(kind, example, spec["labels"], spec["options"], where, counts)
            example["id"] = prefix + example["id"]
        examples += found
        if kind == "mlm" and enough is not None and len(examples) > enough + MANY:
            examples = sample(examples, enough, spec["seed"])  # a large Wikipedia does not fit into memory
    return examples


def _part_name(part: dict) -> str:
    name = next(part[key] for key in ("id", "folder", "generator", "path_key") if key in part)
    return name.rsplit("/", 1)[-1]


def selection(part: dict, split: str, kind: str, options: dict) -> tuple[str, float, float] | None:
    """(source split, low, high): the rows of our split are those of the source split whose hash is in [low, high).

    `{from: S, hold_out: F}` takes a share F of S, and the split that names S itself loses it. Mining needs a dev pool
    that is not the test pool: where dev and test name one source split, or only test is named, each takes half.
    None where the part does not have the split.
    """
    splits = part["splits"]
    mining = kind == "retrieval" and options["mining"] == "margin"
    if mining and "test" in splits and splits.get("dev", splits["test"]) == splits["test"]:
        halves = {"dev": (0.0, 0.5), "test": (0.5, 1.0)}
        return (splits["test"], *halves[split]) if split in halves else None
    value = splits.get(split)
    if value is None:
        return None
    name = value["from"] if isinstance(value, dict) else value
    low = 0.0
    for other, held in splits.items():
        if isinstance(held, dict) and held["from"] == name:
            if other == split:
                return name, low, low + held["hold_out"]
            low += held["hold_out"]
    return name, low, 1.0


def sample(examples: list[dict], cap: int | None, seed: int) -> list[dict]:
    """At most `cap` examples, those with the smallest hashes of seed and id, in the given order.

    A larger cap only adds examples, and equal ids keep parallel test sets parallel. For retrieval the cap counts pairs,
    and distractors are kept in the same proportion on each side.
    """
    if cap is None:
        return examples
    if not examples or "side" not in examples[0]:
        return _smallest(examples, cap, seed)
    pairs = [row for row in examples if row["side"] == "source" and row["match"] is not None]
    if cap >= len(pairs):
        return examples
    kept = _smallest(pairs, cap, seed)
    ids = {row["id"] for row in kept} | {row["match"] for row in kept}
    for side in ("source", "target"):
        alone = [row for row in examples if row["side"] == side and row["match"] is None]
        ids |= {row["id"] for row in _smallest(alone, round(len(alone) * cap / len(pairs)), seed)}
    return [row for row in examples if row["id"] in ids]


def _smallest(examples: list[dict], number: int, seed: int) -> list[dict]:
    if number >= len(examples):
        return examples
    ranked = sorted(range(len(examples)), key=lambda index: (_hash(str(seed), examples[index]["id"]), index))
    return [examples[index] for index in sorted(ranked[:number])]


def _unit(example: dict) -> str:
    """The id that decides in which share an example falls: both sides of a pair by their source sentence."""
    return example["match"] if example.get("side") == "target" and example["match"] is not None else example["id"]


def _hash(salt: str, key: str) -> float:
    """A number in [0, 1) from SHA-256 of salt and key."""
    return int.from_bytes(hashlib.sha256(f"{salt}\0{key}".encode()).digest()[:8], "big") / 2**64
