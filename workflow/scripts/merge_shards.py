from triplet_distillation.faces.align import merge_shards
from triplet_distillation.logs import logged_to
from triplet_distillation.sharing import identity, make_once

with logged_to(snakemake.log[0]):
    files, outputs, params = snakemake.input, snakemake.output, snakemake.params
    make_once(
        folder=params.shared_folder,
        decided_by=lambda: {"shards": [identity(path) for path in files], "code": params.code},
        outputs=dict(outputs.items()),
        make=lambda: merge_shards(
            shards=list(files.shards),
            shard_outcomes=list(files.outcomes),
            output=outputs.store,
            outcomes=outputs.outcomes,
        ),
    )
