from triplet_distillation.faces.align import AcquiredFiles, write_shard
from triplet_distillation.logs import logged_to
from triplet_distillation.sharing import identity, make_once

with logged_to(snakemake.log[0]):
    files, outputs, params = snakemake.input, snakemake.output, snakemake.params
    shard = int(snakemake.wildcards.shard)
    make_once(
        folder=params.shared_folder,
        decided_by=lambda: {
            "source": params.source,
            "alignment": params.settings,
            "shard": shard,
            "code": params.code,
            "images": [identity(files.manifest), identity(files.origin)],
        },
        outputs=dict(outputs.items()),
        make=lambda: write_shard(
            acquired=AcquiredFiles(files.images, files.manifest, files.origin),
            source=params.source,
            settings=params.settings,
            shard=shard,
            output=outputs.store,
            outcomes=outputs.outcomes,
        ),
    )
