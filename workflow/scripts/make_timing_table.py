from triplet_distillation.files import read_json
from triplet_distillation.logs import as_duration, logged_to, summary
from triplet_distillation.reporting.timings import TimingFiles, write_timings

with logged_to(snakemake.log[0]):
    write_timings(snakemake.params.timings, TimingFiles(**snakemake.output))
    totals = read_json(snakemake.output.totals)
    summary(f"{totals['jobs']} jobs until here took {as_duration(totals['seconds_at_work'])}")
