from triplet_distillation.faces.export import check_training_pack
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    check_training_pack(snakemake.input.store, snakemake.input.listing, snakemake.output[0])
