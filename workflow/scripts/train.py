from triplet_distillation.logs import logged_to
from triplet_distillation.settings import MethodFiles, TrainingJob
from triplet_distillation.sharing import identity, make_once
from triplet_distillation.training.job import train_model, training_digest

with logged_to(snakemake.log[0]):
    files, outputs, params = snakemake.input, snakemake.output, snakemake.params
    snapshots = outputs.get("snapshots", [])
    job = TrainingJob.from_dict(
        {
            **params.settings,
            "seed": int(snakemake.wildcards.seed),
            "code": params.code,
            "store": files.store,
            "training_set": files.training_set,
            "weights": outputs.weights,
            "history": outputs.history,
            "loss_state": outputs.loss_state,
            "timing": outputs.timing,
            "snapshots": snapshots,
            "initial": files.get("initial"),
            "required": MethodFiles.from_inputs(files),
        }
    )
    make_once(
        folder=params.shared_folder,
        decided_by=lambda: {"training": training_digest(job), "store": identity(files.store)},
        outputs={name: path for name, path in outputs.items() if name != "snapshots"}
        | {f"snapshot{number}": path for number, path in enumerate(snapshots)},
        make=lambda: train_model(job),
    )
