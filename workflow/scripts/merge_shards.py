from triplet_distillation.faces.align import merge_shards
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    merge_shards(
        shards=list(snakemake.input.shards),
        shard_outcomes=list(snakemake.input.outcomes),
        output=snakemake.output.store,
        outcomes=snakemake.output.outcomes,
    )
