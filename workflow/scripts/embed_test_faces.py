from triplet_distillation.evaluation.embed import embed_test_faces
from triplet_distillation.logs import logged_to
from triplet_distillation.settings import ExecutionSettings
from triplet_distillation.sharing import identity, make_once

with logged_to(snakemake.log[0]):
    files, params, output = snakemake.input, snakemake.params, snakemake.output[0]
    make_once(
        folder=params.shared_folder,
        decided_by=lambda: {
            "weights": identity(files.weights),
            "store": identity(files.store),
            "faces": [identity(path) for path in files.faces],
            "execution": params.execution,
            "code": params.code,
        },
        outputs={"embeddings": output},
        make=lambda: embed_test_faces(
            weights_path=files.weights,
            store_path=files.store,
            tested=list(files.faces),
            execution=ExecutionSettings(**params.execution),
            output=output,
        ),
    )
