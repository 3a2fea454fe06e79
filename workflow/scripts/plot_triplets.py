from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.figures import plot_triplets

with logged_to(snakemake.log[0]):
    plot_triplets(
        store_path=snakemake.input.store,
        training_set=snakemake.input.training_set,
        calibration=(snakemake.input.margins[0], snakemake.input.triplets[0]),
        fixed_margins=snakemake.params.fixed_margins,
        outputs=list(snakemake.output),
    )
