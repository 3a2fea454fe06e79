from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.figures import triplets

with logged_to(snakemake.log[0]):
    triplets(
        store_path=snakemake.input.store,
        training_set=snakemake.input.training_set,
        triplets_path=snakemake.input.triplets[0],
        margins=snakemake.input.margins[0],
        fixed=snakemake.params.fixed,
        output=snakemake.output[0],
    )
