# One rule a cell: cells of one attack may differ in their targets, and a job writes all of its targets and languages.
for number, (attack_cell, chosen) in enumerate(STUDY.attack_cells.items()):

    rule:
        name:
            f"attack_{attack_cell[0]}_{number}"
        input:
            model=fill_cell(paths.MODEL, attack_cell),
            encoder=encoder_of(attack_cell[1:]),
            checkpoints=target_checkpoints(attack_cell[1:], chosen["targets"]),
            examples=fill(FILES.attack_examples(attack_cell[0], chosen)),
            stand_ins=stand_in_files(chosen["stand_ins"]),
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
        shell:
            "python scripts/attack.py --spec {params.identity:q} --results results/{wildcards.study} "
            "--out results/{wildcards.study}/attacks/{params.attack}/{params.cell} --cost {output.cost} "
            "--work work/attacks --processes {threads} > {log} 2>&1"
