from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.context import ReportContext, group_by_model
from triplet_distillation.reporting.figures import plot_score_distributions

with logged_to(snakemake.log[0]):
    plot_score_distributions(
        scores=group_by_model(snakemake.params.models, snakemake.input.scores),
        context=ReportContext(**snakemake.params.context),
        output=snakemake.output[0],
    )
