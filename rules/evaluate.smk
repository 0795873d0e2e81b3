# One rule a training task: its outputs are the predictions of every target and language that it serves.
for task in STUDY.training_tasks(STUDY.targets):

    rule:
        name:
            f"evaluate_{task}"
        input:
            model=list(paths.MODEL.values()),
            checkpoint=[path.replace("{task}", task) for path in paths.TARGET.values()],
            examples=test_files(STUDY.served(task)),
        output:
            **FILES.predictions(STUDY.served(task)),
            cost=paths.cost("evaluate", task),
        log:
            paths.log("evaluate", "{model}", "{intermediate}", "s{seed}", task),
        conda:
            "../envs/cpu.yaml"
        resources:
            gpu=1,
        params:
            identity=lambda w, task=task: text(JOBS.evaluate(*cell(w), task)),
            task=task,
        shell:
            "python scripts/evaluate.py --spec {params.identity:q} --threads {threads} "
            "--model results/{wildcards.study}/models/{wildcards.model} "
            "--checkpoint results/{wildcards.study}/targets/{wildcards.model}/{wildcards.intermediate}/s{wildcards.seed}/{params.task} "
            "--examples results/{wildcards.study}/examples "
            "--out results/{wildcards.study}/predictions/{wildcards.model}/{wildcards.intermediate}/s{wildcards.seed} "
            "--cost {output.cost} > {log} 2>&1"
