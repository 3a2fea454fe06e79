from triplet_distillation.faces.split import write_pairs
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    write_pairs(snakemake.input.store, snakemake.params.held_out, snakemake.output[0])
