from triplet_distillation.faces.split import write_training_set
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    write_training_set(
        store_path=snakemake.input.store,
        benchmark_pairs=snakemake.input.pairs,
        minimum_images=snakemake.params.minimum_images,
        output=snakemake.output[0],
    )
