from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.timings import TimingFiles, write_timings

with logged_to(snakemake.log[0]):
    write_timings(snakemake.params.folder, TimingFiles(**snakemake.output))
