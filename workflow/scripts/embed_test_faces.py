from triplet_distillation.evaluation.embed import embed_test_faces
from triplet_distillation.logs import logged_to
from triplet_distillation.settings import ExecutionSettings

with logged_to(snakemake.log[0]):
    embed_test_faces(
        weights_path=snakemake.input.weights,
        store_path=snakemake.input.store,
        tested=list(snakemake.input.faces),
        execution=ExecutionSettings(**snakemake.params.execution),
        output=snakemake.output[0],
    )
