"""The import graph: planning stays light, analysis needs no torch, attacks know no transformers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from xstilts import identity
from xstilts.identity import ROOT

PLANNING = {"catalog", "presets", "schema", "study", "paths", "identity", "specs", "outputs", "environment"}
PLANNING |= {"errors", "files", "grid", "mixing", "findings", "summaries", "lock", "parts", "mirror", "places"}
PLANNING |= {"ccgbank", "folder", "attack_plan", "attack_needs", "attack_specs", "dictionary_files", "keyboards"}
HEAVY = {"torch", "transformers", "pandas", "scipy", "sklearn", "datasets", "matplotlib", "numpy"}


def imports(path: Path, top_level: bool = False) -> set[str]:
    """Dotted names that a file imports; with `top_level`, only those outside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def module_file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def closure(path: Path) -> set[Path]:
    """Files of the project that a file imports, directly or not (lazy imports too)."""
    seen, queue = set(), [path]
    while queue:
        here = queue.pop()
        if here in seen:
            continue
        seen.add(here)
        queue += [found for name in imports(here) if name.startswith("xstilts") and (found := module_file(name))]
    return seen


def tops(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("module", ["catalog", "study", "paths", "identity", "specs", "outputs", "environment"])
def test_planning_modules_import_only_each_other_and_small_libraries(module):
    for path in closure(ROOT / "xstilts" / f"{module}.py"):
        assert path.stem in PLANNING or path.name == "__init__.py", path
        outside = tops(imports(path)) - {"xstilts", "yaml", "jsonschema"}
        assert outside <= set(sys.stdlib_module_names), f"{path}: {outside}"


@pytest.mark.parametrize("package", ["analysis", "report"])
def test_analysis_and_report_never_reach_torch(package):
    for start in (ROOT / "xstilts" / package).glob("*.py"):
        for path in closure(start):
            assert not tops(imports(path, top_level=True)) & {"torch", "transformers"}, f"{start} reaches {path}"


def test_attacks_import_neither_torch_nor_transformers():
    for path in (ROOT / "xstilts" / "attacks").rglob("*.py"):
        assert not tops(imports(path)) & {"torch", "transformers"}, path


def test_only_scripts_import_snakemake():
    for path in (ROOT / "xstilts").rglob("*.py"):
        assert not {name for name in tops(imports(path)) if name.startswith("snakemake")}, path


def test_planning_a_study_loads_nothing_heavy():
    code = (
        "import sys; from xstilts import study, specs; import yaml\n"
        "s = study.load(yaml.safe_load(open('studies/paper.yaml')), 'studies/paper.yaml')\n"
        "j = specs.Specs(s); [j.target(*c, t) for c in s.cells for t in s.training_tasks(s.cells[c])]\n"
        f"print(sorted(set(sys.modules) & {HEAVY!r}))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("[]"), result.stdout


SCRIPTS = {
    "prepare": ["prepare.py"],
    "check_data": ["check_data.py"],
    "fetch_model": ["fetch_model.py"],
    "train": ["train.py"],
    "evaluate": ["evaluate.py"],
    "retrieval": ["retrieve.py"],
    "attack": ["attack.py"],
    "transfer": ["transfer.py"],
    "analyse": ["analyse.py"],
    "report": ["report.py"],
}
# plumbing that cannot change a result: what the hub's client and a fetched folder give is compared with a digest
EXEMPT = {"xstilts/__init__.py", "xstilts/errors.py", "xstilts/files.py", "xstilts/job.py"}
EXEMPT |= {"xstilts/processor.py"}
EXEMPT |= {
    f"xstilts/hub/{name}.py" for name in ("__init__", "client", "transfer", "refusals", "lock", "pinned", "mirror")
}


@pytest.mark.parametrize("stage", SCRIPTS)
def test_a_stage_lists_every_module_that_its_script_reaches(stage):
    listed = set(identity.stage_modules(stage))
    if stage in ("prepare", "fetch_model", "attack", "transfer"):  # a stage of its own, in the specs that use it
        listed |= set(identity.stage_modules("embedded"))
    for script in SCRIPTS[stage]:
        missing = {
            path.relative_to(ROOT).as_posix()
            for path in closure(ROOT / "scripts" / script)
            if path not in listed and path.read_text(encoding="utf-8").strip()
        } - EXEMPT
        assert not missing, f"catalog/stages.yaml: {stage} lacks {sorted(missing)}"


def test_sizes_stay_readable():
    """Modules <= 300 lines, scripts <= 150, rule files <= 150, the Snakefile <= 80 (docs/decisions.md)."""
    limits = [("xstilts/**/*.py", 300), ("scripts/*.py", 150), ("rules/*.smk", 150), ("Snakefile", 80)]
    for pattern, limit in limits:
        for path in ROOT.glob(pattern):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= limit, path
