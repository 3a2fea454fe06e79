from triplet_distillation.logs import logged_to
from triplet_distillation.settings import TrainingJob
from triplet_distillation.training.job import train_model

with logged_to(snakemake.log[0]):
    files = snakemake.input
    teacher = {key: files.get(f"teacher_{key}") for key in ("weights", "embeddings", "sidecar")}
    job = {
        **snakemake.params.settings,
        "name": snakemake.wildcards.get("role") or snakemake.wildcards.method,
        "seed": int(snakemake.wildcards.seed),
        "code": snakemake.params.code,
        "store": files.store,
        "training_set": files.training_set,
        "weights": snakemake.output.weights,
        "history": snakemake.output.history,
        "initial": files.get("initial"),
        "teacher": teacher if teacher["embeddings"] else None,
        "margins": files.get("margins"),
        "matched_margin": files.get("matched_margin"),
    }
    train_model(TrainingJob.from_dict(job))
