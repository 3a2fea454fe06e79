from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.figures import training_curves
from triplet_distillation.reporting.names import by_model

with logged_to(snakemake.log[0]):
    training_curves(
        first_stage=by_model(snakemake.params.trained, snakemake.input.first_stage),
        second_stage=by_model(snakemake.params.students, snakemake.input.second_stage),
        labels=snakemake.params.labels,
        output=snakemake.output[0],
    )
