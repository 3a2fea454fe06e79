from triplet_distillation.evaluation.evaluate import ResultFiles
from triplet_distillation.evaluation.imported_scores import import_scores
from triplet_distillation.logs import logged_to
from triplet_distillation.settings import EvaluationSettings

with logged_to(snakemake.log[0]):
    import_scores(
        source=snakemake.input.scores,
        run=(snakemake.wildcards.model.removeprefix("models/"), int(snakemake.wildcards.seed)),
        pairs=dict(zip(snakemake.params.benchmarks, snakemake.input.pairs)),
        settings=EvaluationSettings.from_dict(snakemake.params.settings),
        output=ResultFiles(snakemake.output.metrics, snakemake.output.scores),
    )
