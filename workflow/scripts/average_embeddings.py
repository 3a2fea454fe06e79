from triplet_distillation.logs import logged_to
from triplet_distillation.training.loss_files import write_class_means

with logged_to(snakemake.log[0]):
    write_class_means(snakemake.input.training_set, snakemake.input.teacher_embeddings, snakemake.output[0])
