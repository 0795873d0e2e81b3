"""What makes a result: the canonical identity of a job and of the code that computes it.

A rule's one `params` value is `canonical(spec)`: everything that can change the bytes of its outputs and nothing that
cannot. The code enters by stage: `catalog/stages.yaml` lists each stage's own modules, `catalog/stages.lock` records a
version and the digest of their syntax trees. Code as recorded is named by its version; edited code by its digest, so
that its results are stale until a maintainer says which of the two is true: `xstilts stages bump STAGE` (results
change) or `xstilts stages record STAGE` (they do not).
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from pathlib import Path

import yaml

from xstilts.errors import UserError
from xstilts.files import read_json, write_json

ROOT = Path(__file__).resolve().parent.parent
STAGES = (
    "prepare", "embedded", "check_data", "fetch_model", "train", "evaluate", "retrieval", "attack", "transfer",
    "analyse", "report",
)  # fmt: skip


def canonical(value) -> str:
    """Compact JSON with sorted keys: equal meanings give equal strings, whatever order a YAML file has."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def sha256(text: str | bytes) -> str:
    """Hexadecimal SHA-256 of text (as UTF-8) or bytes."""
    return hashlib.sha256(text.encode("utf-8") if isinstance(text, str) else text).hexdigest()


def _tree(node) -> object:
    """A syntax tree as nested lists without positions, docstrings and empty fields (these vary by Python version)."""
    if isinstance(node, list):
        return [_tree(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(value, list) and value and _is_docstring(value[0]):
            value = value[1:]
        if value is None or value == [] or name in ("kind", "type_comment", "ctx"):
            continue
        fields.append([name, _tree(value)])
    return [type(node).__name__, fields]


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def source_digest(path: Path) -> str:
    """Digest of what a source file means: comments, docstrings, white space (Python) or key order (YAML) left out."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return sha256(json.dumps(_tree(ast.parse(text, str(path)))))
    if path.suffix in (".yaml", ".yml"):
        return sha256(canonical(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))))
    return sha256(text)


@functools.cache
def stage_modules(stage: str, root: Path = ROOT) -> tuple[Path, ...]:
    """Files whose content decides what `stage` computes (the patterns of catalog/stages.yaml, sorted)."""
    table = yaml.safe_load((root / "catalog" / "stages.yaml").read_text(encoding="utf-8"))
    files: set[Path] = set()
    for pattern in table[stage]:
        found = [path for one in _braces(pattern) for path in root.glob(one) if path.is_file()]
        found = [path for path in found if "__pycache__" not in path.parts]
        if not found:
            raise UserError(f"catalog/stages.yaml: {stage}: {pattern!r} matches no file")
        files.update(found)
    return tuple(sorted(files))


def _braces(pattern: str) -> list[str]:
    """`a/{b,c}.py` -> `a/b.py`, `a/c.py` (one pair of braces)."""
    if "{" not in pattern:
        return [pattern]
    head, rest = pattern.split("{", 1)
    names, tail = rest.split("}", 1)
    return [f"{head}{name}{tail}" for name in names.split(",")]


@functools.cache
def stage_digest(stage: str, root: Path = ROOT) -> str:
    """One digest over all modules of a stage, by name and meaning."""
    rows = [[path.relative_to(root).as_posix(), source_digest(path)] for path in stage_modules(stage, root)]
    return sha256(canonical(rows))


@functools.cache
def _lock(root: Path) -> dict:
    return read_json(root / "catalog" / "stages.lock")


@functools.cache
def stage_code(stage: str, root: Path = ROOT) -> str:
    """`stage@version` while the code is as recorded, else `stage@digest`."""
    recorded = _lock(root).get(stage, {})
    digest = stage_digest(stage, root)
    return f"{stage}@{recorded['version']}" if recorded.get("digest") == digest else f"{stage}@{digest[:16]}"


def changed_stages(root: Path = ROOT) -> list[str]:
    """Stages whose code is not as recorded in catalog/stages.lock."""
    return [
        stage for stage in STAGES if stage_code(stage, root) != f"{stage}@{_lock(root).get(stage, {}).get('version')}"
    ]


def record_stages(stages: list[str], bump: bool, root: Path = ROOT) -> list[str]:
    """Record the present code of `stages`; with `bump`, under the next version (their results change).

    Returns the new stage codes. Raises UserError for an unknown stage.
    """
    path = root / "catalog" / "stages.lock"
    table = read_json(path) if path.exists() else {}
    for stage in stages:
        if stage not in STAGES:
            raise UserError(f"stage {stage!r} is unknown; allowed: {', '.join(STAGES)}")
        version = table.get(stage, {}).get("version", 1)
        table[stage] = {
            "version": version + 1 if bump and stage in table else version,
            "digest": stage_digest(stage, root),
        }
    write_json(path, table)
    _lock.cache_clear()
    stage_code.cache_clear()
    return [stage_code(stage, root) for stage in stages]
