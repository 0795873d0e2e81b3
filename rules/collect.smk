# Target-only rules: names to ask for a part of a study (snakemake prepare_all, snakemake attacks ...).
rule prepare_all:
    """Prepare all data and models of the study, and stop."""
    input:
        data_files(),


rule intermediates:
    """Train every intermediate encoder of the study, and stop."""
    input:
        [path for path in checkpoint_files() if "/encoders/" in path],


rule predictions:
    """Train and evaluate everything, without attacks and analysis."""
    input:
        prediction_files(),


rule attacks:
    """Run every attack of the study."""
    input:
        attack_files(),


rule transfers:
    """Put what static attacks found on their source cells to all other cells."""
    input:
        transfer_files(),
