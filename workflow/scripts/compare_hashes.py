from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.reproduction import compare

with logged_to(snakemake.log[0]):
    compare(published=snakemake.input.published, ours=snakemake.input.ours, output=snakemake.output[0])
