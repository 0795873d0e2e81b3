rule check_data:
    """Balance, duplicates, leaks, lengths and pieces of everything that was prepared."""
    input:
        data_files(),
    output:
        **paths.DATA_TABLES,
    log:
        paths.log("check_data", "tables"),
    conda:
        "../envs/cpu.yaml"
    params:
        identity=lambda w: text(JOBS.check_data()),
    shell:
        "python scripts/check_data.py --spec {params.identity:q} --threads {threads} "
        "--examples results/{wildcards.study}/examples --models results/{wildcards.study}/models "
        "--out results/{wildcards.study} > {log} 2>&1"
