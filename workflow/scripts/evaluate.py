from triplet_distillation.evaluation.evaluate import evaluate_model
from triplet_distillation.logs import logged_to
from triplet_distillation.settings import EvaluationSettings, ExecutionSettings

with logged_to(snakemake.log[0]):
    files = zip(snakemake.input.stores, snakemake.input.pairs)
    evaluate_model(
        weights_path=snakemake.input.weights,
        benchmarks=dict(zip(snakemake.params.benchmarks, files)),
        settings=EvaluationSettings(**snakemake.params.settings),
        execution=ExecutionSettings(**snakemake.params.execution),
        metrics_output=snakemake.output.metrics,
        scores_output=snakemake.output.scores,
    )
