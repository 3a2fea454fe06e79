from triplet_distillation.evaluation.teacher_cache import write_teacher_embeddings
from triplet_distillation.logs import logged_to
from triplet_distillation.settings import ExecutionSettings
from triplet_distillation.sharing import identity, make_once

with logged_to(snakemake.log[0]):
    files, outputs, params = snakemake.input, snakemake.output, snakemake.params
    make_once(
        folder=params.shared_folder,
        decided_by=lambda: {
            "weights": identity(files.weights),
            "store": identity(files.store),
            "execution": params.execution,
            "code": params.code,
        },
        outputs=dict(outputs.items()),
        make=lambda: write_teacher_embeddings(
            weights_path=files.weights,
            store_path=files.store,
            execution=ExecutionSettings(**params.execution),
            output=outputs.embeddings,
            sidecar=outputs.sidecar,
            code=params.code,
        ),
    )
