import sys

from snakemake.exceptions import WorkflowError

from xstilts import attack_needs, environment, paths, study as studies
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
    intermediate="|".join([studies.NONE, *(one[1] for one in STUDY.encoders)]),
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


def gpus(model):
    """GPUs that one training of a model takes: one where its runtime names none, and the job takes no more then."""
    runtime = STUDY.catalog.models[model].runtime
    return 1 if runtime.get("strategy") == "one" else runtime.get("devices", 1)


def fill_cell(group, attack_cell, task=""):
    """Paths of a group of files for one (attack or source, model, intermediate, seed)."""
    attack, model, intermediate, seed = attack_cell
    values = {
        "attack": attack,
        "model": model,
        "intermediate": intermediate,
        "seed": seed,
        "task": task,
    }
    return list(fill(group, **values).values())


include: "files.smk"


VARIANTS = [task for task in STUDY.trained_tasks() if task in STUDY.catalog.variants]


for notice in [
    *STUDY.notices,
    *(f"not pinned yet: {name}" for name in STUDY.unpinned()),
    *(f"refused: {message}" for message in STUDY.refused()),
]:
    print(f"note: {notice}", file=sys.stderr)


onstart:
    found = STUDY.refused()
    if STUDY.unpinned():
        found.append(
            f"{len(STUDY.unpinned())} hub ids have no revision in catalog/revisions.lock: "
            f"{', '.join(STUDY.unpinned())}. Next: python -m xstilts pin {STUDY.file}"
        )
    if found:
        raise WorkflowError(f"{STUDY.file}: " + "\n".join(found))
