rule analyse:
    """Scores, baselines, retrieval by layer, robustness, comparisons, scaling, claims and cost, from the predictions alone."""
    input:
        analysis_files(),
    output:
        **paths.TABLES,
    log:
        paths.log("analyse", "tables"),
    conda:
        "../envs/cpu.yaml"
    params:
        identity=lambda w: text(JOBS.analyse()),
    shell:
        "python scripts/analyse.py --spec {params.identity:q} --results results/{wildcards.study} "
        "> {log} 2>&1"
