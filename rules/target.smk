rule train_target:
    """Fine-tune an encoder (plain or after intermediate training) on one target's English data."""
    input:
        model=list(paths.MODEL.values()),
        encoder=encoder_files,
        examples=list(FILES.prepared_train("{task}").values()),
    output:
        **paths.TARGET,
    log:
        paths.log("target", "{model}", "{intermediate}", "s{seed}", "{task}"),
    cache: "omit-software"
    conda:
        "../envs/cpu.yaml"
    resources:
        gpu=lambda w: gpus(w.model),
    params:
        identity=lambda w: text(JOBS.target(*cell(w), w.task)),
    shell:
        "python scripts/train.py --spec {params.identity:q} --threads {threads} "
        "--model results/{wildcards.study}/models/{wildcards.model} "
        "--encoder results/{wildcards.study}/encoders/{wildcards.model}/{wildcards.intermediate}/s{wildcards.seed} "
        "--examples results/{wildcards.study}/examples "
        "--out results/{wildcards.study}/targets/{wildcards.model}/{wildcards.intermediate}/s{wildcards.seed}/{wildcards.task} "
        "--started {log}.started > {log} 2>&1"
