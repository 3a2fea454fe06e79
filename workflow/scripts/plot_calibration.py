from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.figures import plot_calibration

with logged_to(snakemake.log[0]):
    plot_calibration(
        margins=dict(zip(snakemake.params.distances, snakemake.input.margins)),
        triplets=dict(zip(snakemake.params.distances, snakemake.input.triplets)),
        outputs=list(snakemake.output),
    )
