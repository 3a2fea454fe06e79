from triplet_distillation.faces.acquire import write_images
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    write_images(
        settings=snakemake.params.source,
        folder=snakemake.output.images,
        downloads=snakemake.params.downloads,
        manifest=snakemake.output.manifest,
        origin=snakemake.output.origin,
    )
