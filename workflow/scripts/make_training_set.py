from triplet_distillation.faces.split import HeldOutFaces, write_training_set
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    write_training_set(
        store_path=snakemake.input.store,
        tested=[HeldOutFaces(*files) for files in zip(snakemake.input.stores, snakemake.input.faces)],
        minimum_images=snakemake.params.minimum_images,
        output=snakemake.output[0],
    )
