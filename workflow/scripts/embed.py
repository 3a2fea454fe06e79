from triplet_distillation.evaluation.teacher_cache import write_teacher_embeddings
from triplet_distillation.logs import logged_to
from triplet_distillation.settings import ExecutionSettings

with logged_to(snakemake.log[0]):
    write_teacher_embeddings(
        weights_path=snakemake.input.weights,
        store_path=snakemake.input.store,
        execution=ExecutionSettings(**snakemake.params.execution),
        output=snakemake.output.embeddings,
        sidecar=snakemake.output.sidecar,
    )
