from pathlib import Path

from triplet_distillation.faces.export import export_training_pack
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    export_training_pack(snakemake.input.store, str(Path(snakemake.output.records).parent))
