# Target-only rules: names to ask for a part of a study (snakemake prepare_all, snakemake targets ...).
rule prepare_all:
    """Prepare all data and models of the study, and stop."""
    input:
        data_files(),


rule intermediates:
    """Train every intermediate encoder of the study, and stop."""
    input:
        [
            path
            for one in STUDY.cells
            if one[1] != studies.NONE
            for path in fill_cell(paths.ENCODER, ("", *one))
        ],


rule predictions:
    """Train and evaluate everything, without attacks and analysis."""
    input:
        prediction_files(),


rule attacks:
    """Run every attack of the study."""
    input:
        [
            path
            for one in STUDY.attack_cells
            for path in fill(JOBS.attack_files(one)).values()
        ],
