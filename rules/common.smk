import sys

from snakemake.exceptions import WorkflowError

from xstilts import environment, paths, study as studies
from xstilts.errors import UserError
from xstilts.outputs import Outputs
from xstilts.specs import Specs, text

try:
    STUDY = studies.load(
        config, str((workflow.overwrite_configfiles or ["config.yaml"])[-1])
    )
    environment.prepare(STUDY.config)
except UserError as error:
    raise WorkflowError(str(error)) from None

JOBS, FILES = Specs(STUDY), Outputs(STUDY)


wildcard_constraints:
    study=STUDY.name,
    model="|".join(STUDY.models),
    intermediate="|".join(STUDY.intermediates),
    seed=r"\d+",
    attack="|".join(STUDY.attacks) or "-",
    task="[a-z0-9_]+",


def fill(template, **wildcards):
    """Fill the study's name (and wildcards) into a path template or a group of them."""
    return paths.fill(template, study=STUDY.name, **wildcards)


def cell(wildcards):
    """(model, intermediate, seed) of a job."""
    return wildcards.model, wildcards.intermediate, int(wildcards.seed)


def encoder_files(wildcards):
    """The intermediate checkpoint that a job starts from; the plain model has none."""
    if wildcards.intermediate == studies.NONE:
        return []
    return fill_cell(paths.ENCODER, ("", *cell(wildcards)))


def fill_cell(group, attack_cell, task=""):
    """Paths of a group of files for one (attack, model, intermediate, seed)."""
    attack, model, intermediate, seed = attack_cell
    values = {
        "attack": attack,
        "model": model,
        "intermediate": intermediate,
        "seed": seed,
        "task": task,
    }
    return list(fill(group, **values).values())


def test_files(targets):
    """Prepared test files (examples and gold) of some targets, in all the study's languages."""
    return [
        path
        for target in targets
        for path in fill(FILES.prepared_test(target)).values()
    ]


def prediction_files():
    """Predictions of every cell on its own targets."""
    return [
        path.format(study=STUDY.name, model=model, intermediate=intermediate, seed=seed)
        for (model, intermediate, seed), targets in STUDY.cells.items()
        for path in FILES.predictions(targets).values()
    ]


def checkpoint_files():
    """Every checkpoint of the study with its records: intermediate encoders, then target models."""
    encoders = [
        fill_cell(paths.ENCODER, ("", *one))
        for one in STUDY.cells
        if one[1] != studies.NONE
    ]
    targets = [
        fill_cell(paths.TARGET, ("", *one), task)
        for one, served in STUDY.cells.items()
        for task in STUDY.training_tasks(served)
    ]
    return [path for group in encoders + targets for path in group]


def attack_files():
    """Outcomes of every attack."""
    return [
        path
        for one in STUDY.attack_cells
        for path in fill(FILES.attack_files(one)).values()
    ]


def analysis_files():
    """Everything that the tables are made of: examples, training records, predictions, attacks (timings lie beside)."""
    return [
        *prediction_files(),
        *test_files(STUDY.targets),
        *(
            path
            for task in STUDY.trained_tasks()
            for path in fill(FILES.prepared_train(task)).values()
        ),
        *(path for path in checkpoint_files() if path.endswith("train.json")),
        *attack_files(),
    ]


def data_files():
    """Models, training and test examples."""
    return [
        *(
            path
            for model in STUDY.models
            for path in fill(paths.MODEL, model=model).values()
        ),
        *(
            path
            for task in STUDY.trained_tasks()
            for path in fill(FILES.prepared_train(task)).values()
        ),
        *test_files(STUDY.targets),
    ]


RETRIEVAL_TARGETS = [target for target in STUDY.targets if target in studies.RETRIEVAL]


for notice in [
    *STUDY.notices,
    *(f"not pinned yet: {name}" for name in STUDY.unpinned()),
]:
    print(f"note: {notice}", file=sys.stderr)


onstart:
    if STUDY.unpinned():
        raise WorkflowError(
            f"{STUDY.file}: {len(STUDY.unpinned())} hub ids have no revision in catalog/revisions.lock: "
            f"{', '.join(STUDY.unpinned())}. Next: python -m xstilts pin"
        )
