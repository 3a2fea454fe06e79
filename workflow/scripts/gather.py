from triplet_distillation.faces.align import gather_shards
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    gather_shards(
        shards=list(snakemake.input.shards),
        shard_outcomes=list(snakemake.input.outcomes),
        output=snakemake.output.store,
        outcomes=snakemake.output.outcomes,
    )
