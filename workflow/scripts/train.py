from triplet_distillation.logs import logged_to
from triplet_distillation.settings import MethodFiles, TrainingJob
from triplet_distillation.training.job import train_model

with logged_to(snakemake.log[0]):
    files, outputs = snakemake.input, snakemake.output
    job = {
        **snakemake.params.settings,
        "seed": int(snakemake.wildcards.seed),
        "code": snakemake.params.code,
        "store": files.store,
        "training_set": files.training_set,
        "weights": outputs.weights,
        "history": outputs.history,
        "loss_state": outputs.loss_state,
        "timing": outputs.timing,
        "snapshots": outputs.get("snapshots", []),
        "initial": files.get("initial"),
        "required": MethodFiles.from_inputs(files),
    }
    train_model(TrainingJob.from_dict(job))
