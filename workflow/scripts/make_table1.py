from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.tables import TableFiles, write_table1

with logged_to(snakemake.log[0]):
    write_table1(
        profiles=dict(zip(snakemake.params.networks, snakemake.input.profiles)),
        roles=snakemake.params.roles,
        outputs=TableFiles(snakemake.output.csv, snakemake.output.html, snakemake.output.tex),
    )
