from triplet_distillation.evaluation.evaluate import evaluate_model
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    files = zip(snakemake.input.stores, snakemake.input.pairs)
    evaluate_model(
        name=snakemake.wildcards.model,
        weights_path=snakemake.input.weights,
        benchmarks=dict(zip(snakemake.params.benchmarks, files)),
        settings=snakemake.params.settings,
        execution=snakemake.params.execution,
        figures=snakemake.output.figures,
        scores=snakemake.output.scores,
    )
