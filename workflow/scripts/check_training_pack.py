from triplet_distillation.faces.export import check_training_pack
from triplet_distillation.faces.split import HeldOutFaces
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    files = zip(snakemake.input.stores, snakemake.input.faces)
    check_training_pack(
        store_path=snakemake.input.store,
        held_out=[HeldOutFaces(*each) for each in files],
        listing_path=snakemake.input.listing,
        output=snakemake.output[0],
    )
