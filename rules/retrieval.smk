if STUDY.retrieval_targets:

    rule retrieve:
        """Sentence retrieval with the encoder itself: no target training."""
        input:
            model=list(paths.MODEL.values()),
            encoder=encoder_files,
            examples=test_files(STUDY.retrieval_targets),
        output:
            **FILES.predictions(STUDY.retrieval_targets),
            layers=paths.LAYERS,
            cost=paths.cost("retrieval"),
        log:
            paths.log("retrieval", "{model}", "{intermediate}", "s{seed}"),
        conda:
            "../envs/cpu.yaml"
        resources:
            gpu=1,
        params:
            identity=lambda w: text(JOBS.retrieval(*cell(w))),
        shell:
            "python scripts/retrieve.py --spec {params.identity:q} --threads {threads} "
            "--model results/{wildcards.study}/models/{wildcards.model} "
            "--encoder results/{wildcards.study}/encoders/{wildcards.model}/{wildcards.intermediate}/s{wildcards.seed} "
            "--examples results/{wildcards.study}/examples "
            "--out results/{wildcards.study}/predictions/{wildcards.model}/{wildcards.intermediate}/s{wildcards.seed} "
            "--layers {output.layers} --cost {output.cost} > {log} 2>&1"
