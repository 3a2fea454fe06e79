from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.tables import write_quality

with logged_to(snakemake.log[0]):
    datasets = snakemake.params.datasets
    write_quality(
        alignments=dict(zip(datasets, snakemake.input.outcomes)),
        origins=dict(zip(datasets, snakemake.input.origins)),
        csv=snakemake.output.csv,
        html_page=snakemake.output.html,
    )
