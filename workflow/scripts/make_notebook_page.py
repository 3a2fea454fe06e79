from triplet_distillation.logs import logged_to, summary
from triplet_distillation.reporting.notebooks import execute, write_page

with logged_to(snakemake.log[0]):
    execute(snakemake.input.notebook, snakemake.output.notebook)
    write_page(snakemake.output.notebook, snakemake.output.html)
    summary(f"notebook: {snakemake.output.notebook}")
