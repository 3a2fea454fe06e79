from triplet_distillation.configuration import write_config
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    write_config(snakemake.params.config, snakemake.output[0])
