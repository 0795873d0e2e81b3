rule report:
    """One self-contained HTML page with every table and figure."""
    input:
        [*paths.TABLES.values(), *paths.DATA_TABLES.values()],
    output:
        paths.REPORT,
    log:
        paths.log("report", "report"),
    conda:
        "../envs/cpu.yaml"
    params:
        identity=lambda w: text(JOBS.report()),
    shell:
        "python scripts/report.py --spec {params.identity:q} --results results/{wildcards.study} > {log} 2>&1"
