from xstilts.models import folder

# a spec knows the files of a local model by content, the jobs' environment knows where they lie
folder.publish(FILES.model_folders())


rule fetch_model:
    """A pretrained encoder in one plain layout, whatever its source."""
    output:
        **paths.MODEL,
    log:
        paths.log("fetch_model", "{model}"),
    cache: "omit-software"
    retries: 1
    conda:
        "../envs/cpu.yaml"
    params:
        identity=lambda w: text(JOBS.fetch_model(w.model)),
    shell:
        "python scripts/fetch_model.py --spec {params.identity:q} "
        "--out results/{wildcards.study}/models/{wildcards.model} --started {log}.started > {log} 2>&1"


rule prepare_train:
    """English training and development examples of one task, checked and normalised."""
    input:
        lambda w: FILES.local_files(JOBS.prepare_train(w.task)),
    output:
        **FILES.prepared_train("{task}"),
    log:
        paths.log("prepare", "{task}-train"),
    wildcard_constraints:
        task="|".join(set(STUDY.trained_tasks()) - set(VARIANTS)) or "-",
    cache: "omit-software"
    conda:
        "../envs/cpu.yaml"
    params:
        identity=lambda w: text(JOBS.prepare_train(w.task)),
    shell:
        "python scripts/prepare.py --spec {params.identity:q} --examples results/{wildcards.study}/examples "
        "--gold results/{wildcards.study}/gold "
        "--started {log}.started > {log} 2>&1"


# One rule a variant: it is trained on the study's languages of it.
for task in VARIANTS:

    rule:
        name:
            f"prepare_train_{task}"
        input:
            FILES.local_files(JOBS.prepare_train(task)),
        output:
            **FILES.prepared_train(task),
        log:
            paths.log("prepare", f"{task}-train"),
        cache: "omit-software"
        conda:
            "../envs/cpu.yaml"
        params:
            identity=lambda w, task=task: text(JOBS.prepare_train(task)),
        shell:
            "python scripts/prepare.py --spec {params.identity:q} --examples results/{wildcards.study}/examples "
            "--gold results/{wildcards.study}/gold "
            "--started {log}.started > {log} 2>&1"


# One rule a target or static set: its outputs are the study's languages of it.
for target in STUDY.tests:

    rule:
        name:
            f"prepare_{target}"
        input:
            FILES.local_files(JOBS.prepare_test(target)),
        output:
            **FILES.prepared_test(target),
        log:
            paths.log("prepare", f"{target}-test"),
        cache: "omit-software"
        conda:
            "../envs/cpu.yaml"
        params:
            identity=lambda w, target=target: text(JOBS.prepare_test(target)),
        shell:
            "python scripts/prepare.py --spec {params.identity:q} --examples results/{wildcards.study}/examples "
            "--gold results/{wildcards.study}/gold "
            "--started {log}.started > {log} 2>&1"
