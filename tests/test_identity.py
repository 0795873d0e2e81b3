"""Identity: what re-runs a job, what does not, and that no two jobs of different meaning share an entry."""

import json
import shutil

import pytest

from xstilts import identity
from xstilts.identity import ROOT, canonical, changed_stages, source_digest, stage_code


def test_canonical_ignores_key_order():
    assert canonical({"b": 1, "a": [1, 2]}) == canonical({"a": [1, 2], "b": 1})
    assert canonical({"a": [1, 2]}) != canonical({"a": [2, 1]})


@pytest.mark.parametrize(
    ("edit", "changes"),
    [
        ("# a comment\nx = 1\n", False),
        ('"""New words."""\n\n\nx   =   1\n', False),
        ("x = 2\n", True),
        ("y = 1\n", True),
        ("x = '1'\n", True),
        ("x = 1.0\n", True),
    ],
)
def test_digest_sees_meaning_not_comments(tmp_path, edit, changes):
    path = tmp_path / "module.py"
    path.write_text('"""Words."""\nx = 1\n')
    before = source_digest(path)
    path.write_text(edit)
    assert (source_digest(path) != before) is changes


def test_docstring_of_a_function_does_not_count_but_its_default_does(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("def f(a=1):\n    return a\n")
    before = source_digest(path)
    path.write_text('def f(a=1):\n    """Say what."""\n    return a  # a\n')
    assert source_digest(path) == before
    path.write_text("def f(a=2):\n    return a\n")
    assert source_digest(path) != before


def test_code_is_as_recorded():
    assert changed_stages() == [], (
        "the code of these stages changed: python -m xstilts stages bump STAGE (results change) "
        "or python -m xstilts stages record STAGE (same results)"
    )


def test_edited_code_is_named_by_its_digest_until_it_is_recorded(tmp_path):
    root = tmp_path
    for folder in ("xstilts", "scripts", "catalog"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    loop = next((root / "xstilts" / "training").glob("loop.py"))
    assert stage_code("train", root) == stage_code("train")
    loop.write_text(loop.read_text() + "\nEXTRA = 1\n")
    _forget()
    edited = stage_code("train", root)
    assert edited.startswith("train@") and edited != stage_code("train") and len(edited) == len("train@") + 16
    assert stage_code("prepare", root) == stage_code("prepare")
    identity.record_stages(["train"], bump=True, root=root)
    version = json.loads((root / "catalog" / "stages.lock").read_text())["train"]["version"]
    assert stage_code("train", root) == f"train@{version}"
    assert version == json.loads((ROOT / "catalog" / "stages.lock").read_text())["train"]["version"] + 1


def _forget():
    for function in (identity.stage_modules, identity.stage_digest, identity.stage_code, identity._lock):
        function.cache_clear()
