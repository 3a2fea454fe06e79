from triplet_distillation.faces.align import write_shard
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    write_shard(
        photographs=snakemake.input.photographs,
        manifest=snakemake.input.manifest,
        origin=snakemake.input.origin,
        source=snakemake.params.source,
        settings=snakemake.params.settings,
        shard=int(snakemake.wildcards.shard),
        output=snakemake.output.store,
        outcomes=snakemake.output.outcomes,
    )
