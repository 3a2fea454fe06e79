from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.context import ReportContext
from triplet_distillation.reporting.figures import plot_accuracy_against_flops
from triplet_distillation.reporting.runs import Evaluations

with logged_to(snakemake.log[0]):
    context = ReportContext(**snakemake.params.context)
    evaluations = Evaluations(context.by_model(snakemake.input.scores), snakemake.input.training_sets, context)
    profiles = dict(zip(snakemake.params.models, snakemake.input.profiles))
    plot_accuracy_against_flops(evaluations, profiles, list(snakemake.output))
