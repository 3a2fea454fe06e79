from pathlib import Path

from triplet_distillation.deployment.export import StudentFiles, export
from triplet_distillation.logs import logged_to
from triplet_distillation.settings import ExportSettings

with logged_to(snakemake.log[0]):
    files = snakemake.input
    export(
        name=snakemake.params.name,
        student=StudentFiles(files.weights, files.scores, files.metrics, files.store, files.teacher),
        settings=ExportSettings(**snakemake.params.settings),
        folder=Path(snakemake.output.onnx).parent,
    )
