"""xstilts: English intermediate-task training for zero-shot cross-lingual transfer.

data -> intermediate training -> target training -> zero-shot evaluation -> attacks -> analysis -> report
"""

from snakemake.utils import min_version

min_version("9.27")


# A study given with --configfile stands alone: it is not laid over the default one.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


include: "rules/common.smk"


rule all:
    """Everything that the study asks for; each file is named, so that a deleted one is made again."""
    input:
        fill(paths.REPORT),
        fill(paths.TABLES).values(),
        fill(paths.DATA_TABLES).values(),
        data_files(),
        checkpoint_files(),
        analysis_files(),


include: "rules/prepare.smk"
include: "rules/check.smk"
include: "rules/intermediate.smk"
include: "rules/target.smk"
include: "rules/evaluate.smk"
include: "rules/retrieval.smk"
include: "rules/attack.smk"
include: "rules/transfer.smk"
include: "rules/analyse.smk"
include: "rules/report.smk"
include: "rules/collect.smk"
