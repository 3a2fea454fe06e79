from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.context import ReportContext
from triplet_distillation.reporting.figures import plot_score_distributions
from triplet_distillation.reporting.runs import Evaluations

with logged_to(snakemake.log[0]):
    context = ReportContext(**snakemake.params.context)
    evaluations = Evaluations(context.by_model(snakemake.input.scores), snakemake.input.training_sets, context)
    plot_score_distributions(evaluations, list(snakemake.output))
