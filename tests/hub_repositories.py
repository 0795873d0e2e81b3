"""Small repositories in the shapes of tests/hub_shapes.yaml, on the fake hub, with rows that are made up here.

Every row exists twice: as what it means ({"text_a", "text_b", "label": "entailment"}), which the tests expect of the
loading code, and as its repository writes it (fields, class numbers, letters, offsets). The catalog is not read.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import hub_rows
import yaml

SHAPES = Path(__file__).resolve().parent / "hub_shapes.yaml"
STYLES = ("published", "today", "bare")


class Table(NamedTuple):
    """One configuration of one language (None: all of them) in the repository `id`."""

    id: str
    shape: dict
    config: str
    language: str | None


@functools.cache
def shapes() -> dict:
    """tests/hub_shapes.yaml."""
    return yaml.safe_load(SHAPES.read_text(encoding="utf-8"))


def tables(name: str) -> Iterator[Table]:
    """The configurations of a repository."""
    for shape in shapes()[name]["tables"]:
        if shape.get("mixed"):
            yield Table(name, shape, shape["config"], None)
            continue
        for language in shape["languages"]:
            there = shape.get("names", {}).get(language, language)
            yield Table(name, shape, shape["config"].replace("{}", there), language)


def meanings(name: str, config: str, split: str, language: str, rows: int = 6) -> list[dict]:
    """What the rows of a split mean in one language, in their order; rows that mean nothing (no label) are left out."""
    table = next(table for table in tables(name) if table.config == config)
    found = hub_rows.rows(table.shape, config, split, table.language, rows)
    return [row.meaning for row in found if row.meaning is not None and row.language == language]


def build(hub, name=None, rows=6, languages=None, style="published") -> dict[str, str]:
    """Put every repository of the shapes (or the one named) on the fake hub; returns id -> commit.

    `languages`: only these have files of their own, the configurations of the others name the first one's files: few
    files, where a test does not look at each language. `style`: how the parquet files describe their columns:
    `published` as `datasets` did when the hub was converted, `today` as it does now, `bare` not at all.
    """
    return {key: _add(hub, key, rows, languages, style) for key in ([name] if name else shapes())}


def tiny_model(hub, name: str, **config) -> str:
    """Put a random two-block XLM-R on the fake hub (`config` overrides its configuration); returns the commit."""
    from xstilts.models import random_model

    built = random_model.build({"config": config}, {}, None)
    return hub.add("model", name, model_files(built))


def model_files(built: dict) -> dict[str, bytes]:
    """config.json, tokenizer.json and model.safetensors as a published encoder has them (names with `roberta.`)."""
    from safetensors.torch import save

    weights = {f"roberta.{key}": value.contiguous() for key, value in built["weights"].items()}
    return {
        "README.md": b"---\nlicense: mit\n---\n",
        "config.json": (json.dumps(built["config"], indent=2) + "\n").encode(),
        "model.safetensors": save(weights, metadata={"format": "pt"}),
        "tokenizer.json": built["tokenizer"].to_str().encode(),
    }


def _add(hub, name: str, rows: int, languages, style: str) -> str:
    shape, files, declared = shapes()[name], {}, []
    for table in tables(name):
        owner = _owner(table, languages)
        splits = {}
        for split in table.shape["rows"]:
            paths = [
                table.shape[key].format(config=owner.config, split=split)
                for key in ("files", "second")
                if key in table.shape
            ]
            for number, path in enumerate(paths):
                if path not in files:
                    files[path] = parquet(name, owner.config, split, rows, style, (number, len(paths)))
            splits[split] = paths
        declared.append((table, splits))
    if shape["readme"] == "configs":
        files["README.md"] = _card(declared).encode()
    elif shape["readme"] == "plain":
        files["README.md"] = b"---\nlanguage:\n- en\n---\n# A card without configurations\n"
    if "script" in shape:
        hub.add("dataset", name, {"README.md": b"# A script\n", shape["script"]: b"raise SystemExit('run')\n"})
    return hub.add("dataset", name, files, branch=shape.get("branch", "main"))


def _owner(table: Table, languages) -> Table:
    """The table whose files this one's configuration names."""
    if languages is None or table.language is None or table.language in languages:
        return table
    here = [other for other in tables(table.id) if other.shape is table.shape]
    return next((other for other in here if other.language in languages), here[0])


@functools.lru_cache(maxsize=4096)
def parquet(name: str, config: str, split: str, rows=6, style="published", half=(0, 1)) -> bytes:
    """A file that `datasets` wrote, with its description of the columns in a style of `build`; `half`: (i, of n)."""
    import datasets
    import pyarrow.parquet

    table = next(table for table in tables(name) if table.config == config)
    found = [row.raw for row in hub_rows.rows(table.shape, config, split, table.language, rows)]
    number, halves = half
    size = -(-len(found) // halves)
    features = datasets.Features({key: _feature(value) for key, value in table.shape["features"].items()})
    buffer = io.BytesIO()
    with _quiet():
        datasets.Dataset.from_list(found[number * size : (number + 1) * size], features=features).to_parquet(buffer)
    if style == "today":
        return buffer.getvalue()
    written = pyarrow.parquet.read_table(io.BytesIO(buffer.getvalue()))
    note = None
    if style == "published":
        described = json.loads(written.schema.metadata[b"huggingface"])
        described["info"]["features"] = {
            key: _older(table.shape["features"][key], value) for key, value in described["info"]["features"].items()
        }
        note = {b"huggingface": json.dumps(described).encode()}
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(written.replace_schema_metadata(note), buffer)
    return buffer.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of `datasets`, whose setting is as before afterwards."""
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _feature(told):
    import datasets

    if isinstance(told, str):
        return datasets.Value(told)
    if "classes" in told:
        return datasets.ClassLabel(names=told["classes"])
    if "list" in told:
        return datasets.List(_feature(told["list"]))
    return {key: datasets.List(datasets.Value(dtype)) for key, dtype in told["lists"].items()}


def _older(told, described: dict) -> dict:
    """A feature as `datasets` 2 described it: lists are a Sequence, lists side by side a Sequence of a struct."""
    if isinstance(told, dict) and "list" in told:
        return {"feature": described["feature"], "_type": "Sequence"}
    if isinstance(told, dict) and "lists" in told:
        return {"feature": {key: value["feature"] for key, value in described.items()}, "_type": "Sequence"}
    return described


def _card(declared: list[tuple[Table, dict[str, list[str]]]]) -> str:
    """README.md with the blocks `dataset_info` and `configs`, as the conversion of 2024 wrote them."""
    info, configs = [], []
    for table, splits in declared:
        features = [{"name": key, **_told(value)} for key, value in table.shape["features"].items()]
        numbers = [{"name": split, "num_bytes": 1000, "num_examples": 10} for split in splits]
        info.append({"config_name": table.config, "features": features, "splits": numbers, "dataset_size": 1000})
        data = [{"split": key, "path": path[0].rsplit("-0", 2)[0] + "-*"} for key, path in splits.items()]
        configs.append({"config_name": table.config, "data_files": data})
    front = yaml.safe_dump({"language": ["en"], "dataset_info": info, "configs": configs}, sort_keys=False)
    return f"---\n{front}---\n# A card\n"


def _told(feature) -> dict:
    if isinstance(feature, str):
        return {"dtype": feature}
    if "classes" in feature:
        return {"dtype": {"class_label": {"names": {str(n): name for n, name in enumerate(feature["classes"])}}}}
    if "list" in feature:
        inner = _told(feature["list"])["dtype"]
        return {"sequence": inner}
    return {"sequence": [{"name": key, "dtype": dtype} for key, dtype in feature["lists"].items()]}
