from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.tables import write_table1

with logged_to(snakemake.log[0]):
    write_table1(
        profiles=dict(zip(snakemake.params.networks, snakemake.input.profiles)),
        csv=snakemake.output.csv,
        html_page=snakemake.output.html,
        tex=snakemake.output.tex,
    )
