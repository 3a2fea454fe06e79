from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.figures import plot_center_similarities

with logged_to(snakemake.log[0]):
    plot_center_similarities(
        training_set=snakemake.input.training_set,
        teacher_embeddings=snakemake.input.teacher_embeddings,
        class_means=snakemake.input.class_means,
        outputs=list(snakemake.output),
    )
