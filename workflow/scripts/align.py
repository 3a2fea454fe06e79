from triplet_distillation.faces.align import AcquiredFiles, write_shard
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    files = snakemake.input
    write_shard(
        acquired=AcquiredFiles(files.images, files.manifest, files.origin),
        source=snakemake.params.source,
        settings=snakemake.params.settings,
        shard=int(snakemake.wildcards.shard),
        output=snakemake.output.store,
        outcomes=snakemake.output.outcomes,
    )
