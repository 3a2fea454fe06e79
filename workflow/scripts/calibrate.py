from triplet_distillation.logs import logged_to
from triplet_distillation.training.calibration import write_calibration

with logged_to(snakemake.log[0]):
    write_calibration(
        training_set=snakemake.input.training_set,
        teacher_embeddings=snakemake.input.teacher_embeddings,
        settings=snakemake.params.settings,
        distance=snakemake.wildcards.distance,
        seed=int(snakemake.wildcards.seed),
        margins_output=snakemake.output.margins,
        triplets_output=snakemake.output.triplets,
    )
