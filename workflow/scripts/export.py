from pathlib import Path

from triplet_distillation.deployment.export import export
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    export(
        name=snakemake.params.name,
        weights_path=snakemake.input.weights,
        scores=snakemake.input.scores,
        figures=snakemake.input.figures,
        training_store=snakemake.input.store,
        teacher_weights=snakemake.input.teacher,
        settings=snakemake.params.settings,
        folder=Path(snakemake.output.onnx).parent,
    )
