from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.reproduction import hash_study

with logged_to(snakemake.log[0]):
    hash_study(
        stages={stage: list(paths) for stage, paths in snakemake.input.items()},
        configuration=snakemake.params.configuration,
        folder=snakemake.params.folder,
        output=snakemake.output[0],
    )
