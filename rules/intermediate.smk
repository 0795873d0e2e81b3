rule train_intermediate:
    """Fine-tune an encoder on one intermediate task or variant, or on a mixture of them."""
    input:
        model=list(paths.MODEL.values()),
        examples=lambda w: [
            path
            for task in STUDY.intermediate_tasks(w.intermediate)
            for path in fill(FILES.prepared_train(task)).values()
        ],
    output:
        **paths.ENCODER,
    log:
        paths.log("intermediate", "{model}", "{intermediate}", "s{seed}"),
    cache: "omit-software"
    conda:
        "../envs/cpu.yaml"
    resources:
        gpu=lambda w: gpus(w.model),
    params:
        identity=lambda w: text(JOBS.intermediate(*cell(w))),
    shell:
        "python scripts/train.py --spec {params.identity:q} --threads {threads} "
        "--model results/{wildcards.study}/models/{wildcards.model} "
        "--examples results/{wildcards.study}/examples "
        "--out results/{wildcards.study}/encoders/{wildcards.model}/{wildcards.intermediate}/s{wildcards.seed} "
        "--started {log}.started > {log} 2>&1"
