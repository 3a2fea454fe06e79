from triplet_distillation.evaluation.evaluate import BenchmarkFiles, ResultFiles, evaluate_model
from triplet_distillation.logs import logged_to
from triplet_distillation.settings import EvaluationSettings

with logged_to(snakemake.log[0]):
    files = snakemake.input
    paths = zip(files.stores, files.pairs, files.templates, files.embeddings)
    evaluate_model(
        name=snakemake.wildcards.model.rpartition("/")[2],
        benchmarks={name: BenchmarkFiles(*each) for name, each in zip(snakemake.params.benchmarks, paths)},
        settings=EvaluationSettings.from_dict(snakemake.params.settings),
        output=ResultFiles(snakemake.output.metrics, snakemake.output.scores),
    )
