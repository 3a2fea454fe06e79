from triplet_distillation.faces.export import export_verification_pack
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    export_verification_pack(snakemake.input.store, snakemake.input.pairs, snakemake.output[0])
