from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.figures import score_distributions
from triplet_distillation.reporting.names import by_model

with logged_to(snakemake.log[0]):
    score_distributions(
        scores=by_model(snakemake.params.models, snakemake.input.scores),
        labels=snakemake.params.labels,
        benchmarks=snakemake.params.benchmarks,
        output=snakemake.output[0],
    )
