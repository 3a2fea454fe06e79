from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.context import ReportContext, group_by_model
from triplet_distillation.reporting.figures import plot_training_curves

with logged_to(snakemake.log[0]):
    plot_training_curves(
        first_stage=group_by_model(snakemake.params.trained, snakemake.input.first_stage),
        second_stage=group_by_model(snakemake.params.students, snakemake.input.second_stage),
        context=ReportContext(**snakemake.params.context),
        output=snakemake.output[0],
    )
