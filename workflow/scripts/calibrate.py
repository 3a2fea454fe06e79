from triplet_distillation.logs import logged_to
from triplet_distillation.settings import CalibrationSettings
from triplet_distillation.training.calibration import write_calibration

with logged_to(snakemake.log[0]):
    write_calibration(
        training_set=snakemake.input.training_set,
        teacher_embeddings=snakemake.input.teacher_embeddings,
        settings=CalibrationSettings(**snakemake.params.settings),
        distance=snakemake.wildcards.distance,
        seed=int(snakemake.wildcards.seed),
        outputs=(snakemake.output.margins, snakemake.output.triplets),
    )
