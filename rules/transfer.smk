# One rule a transfer: what an attack found on its source cell is put to another cell, on all their common targets.
for number, (transfer_cell, chosen) in enumerate(STUDY.transfer_cells.items()):

    rule:
        name:
            f"transfer_{transfer_cell[0]}_{number}"
        input:
            model=fill_cell(paths.MODEL, transfer_cell[1:]),
            encoder=encoder_of(transfer_cell[2:]),
            checkpoints=target_checkpoints(transfer_cell[2:], chosen["targets"]),
            examples=fill(FILES.attack_examples(transfer_cell[0], chosen)),
            made=fill(FILES.made_on_source(transfer_cell)),
        output:
            **FILES.transfer_files(transfer_cell),
            cost=FILES.attack_cost(transfer_cell),
        log:
            paths.log("transfer", *transfer_cell[:4], f"s{transfer_cell[4]}"),
        conda:
            "../envs/cpu.yaml"
        resources:
            gpu=1,
        params:
            identity=lambda w, transfer_cell=transfer_cell: text(
                JOBS.transfer(*transfer_cell)
            ),
            cell=FILES.cell_folder(transfer_cell[2:]),
            attack=transfer_cell[0],
            source=transfer_cell[1],
        shell:
            "python scripts/transfer.py --spec {params.identity:q} --threads {threads} "
            "--results results/{wildcards.study} "
            "--out results/{wildcards.study}/transfer/{params.attack}/{params.source}/{params.cell} "
            "--cost {output.cost} > {log} 2>&1"
