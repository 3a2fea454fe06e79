from triplet_distillation.faces.split import DatasetFiles, Protocol, write_test_faces
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    write_test_faces(
        dataset=DatasetFiles(snakemake.input.store, snakemake.input.images),
        source=snakemake.params.source,
        protocol=Protocol(**snakemake.params.protocol),
        output=snakemake.output[0],
    )
