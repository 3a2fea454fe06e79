from triplet_distillation.faces.split import write_pairs
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    write_pairs(
        store_path=snakemake.input.store,
        images=snakemake.input.images,
        source=snakemake.params.source,
        protocol=snakemake.params.protocol,
        output=snakemake.output[0],
    )
