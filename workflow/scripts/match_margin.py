from triplet_distillation.logs import logged_to
from triplet_distillation.settings import DistillationMargins, MethodFiles, TrainingSettings
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
        required=MethodFiles.from_inputs(files),
    )
    write_matched_margin(distillation, snakemake.output[0])
