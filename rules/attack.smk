# One rule a cell: cells of one attack may differ in their targets, and a job writes all of its targets and languages.
for number, (attack_cell, chosen) in enumerate(STUDY.attack_cells.items()):

    rule:
        name:
            f"attack_{attack_cell[0]}_{number}"
        input:
            model=fill_cell(paths.MODEL, attack_cell),
            encoder=(
                fill_cell(paths.ENCODER, attack_cell)
                if attack_cell[2] != studies.NONE
                else []
            ),
            checkpoints=[
                path
                for task in STUDY.training_tasks(chosen["targets"])
                for path in fill_cell(paths.TARGET, attack_cell, task)
            ],
            examples=test_files(chosen["targets"]),
        output:
            **FILES.attack_files(attack_cell),
            cost=FILES.attack_cost(attack_cell),
        log:
            paths.log("attack", attack_cell[0], *attack_cell[1:3], f"s{attack_cell[3]}"),
        conda:
            "../envs/cpu.yaml"
        resources:
            gpu=1,
        params:
            identity=lambda w, attack_cell=attack_cell: text(JOBS.attack(*attack_cell)),
            cell=FILES.cell_folder(attack_cell[1:]),
            attack=attack_cell[0],
            model=attack_cell[1],
        shell:
            "python scripts/attack.py --spec {params.identity:q} --threads {threads} "
            "--model results/{wildcards.study}/models/{params.model} "
            "--encoder results/{wildcards.study}/encoders/{params.cell} "
            "--targets results/{wildcards.study}/targets/{params.cell} "
            "--examples results/{wildcards.study}/examples "
            "--out results/{wildcards.study}/attacks/{params.attack}/{params.cell} --cost {output.cost} "
            "> {log} 2>&1"
