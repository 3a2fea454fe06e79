from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.figures import accuracy_against_flops
from triplet_distillation.reporting.names import by_model

with logged_to(snakemake.log[0]):
    accuracy_against_flops(
        scores=by_model(snakemake.params.models, snakemake.input.scores),
        labels=snakemake.params.labels,
        benchmarks=snakemake.params.benchmarks,
        profiles=dict(zip(snakemake.params.models, snakemake.input.profiles)),
        settings=snakemake.params.settings,
        output=snakemake.output[0],
    )
