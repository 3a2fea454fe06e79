from triplet_distillation.logs import logged_to
from triplet_distillation.settings import DistillationMargins, TrainingSettings
from triplet_distillation.training.matched_margin import write_matched_margin

with logged_to(snakemake.log[0]):
    settings, files = snakemake.params.settings, snakemake.input
    distillation = DistillationMargins(
        loss=settings["loss"],
        loss_settings=settings["loss_settings"],
        training=TrainingSettings.from_dict(settings["training"]),
        seed=int(snakemake.wildcards.seed),
        store=files.store,
        training_set=files.training_set,
        teacher_embeddings=files.teacher_embeddings,
        margins=files.margins,
    )
    write_matched_margin(distillation, snakemake.output[0])
