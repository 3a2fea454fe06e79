from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.figures import plot_faces

with logged_to(snakemake.log[0]):
    plot_faces(snakemake.input.store, list(snakemake.output))
