from triplet_distillation.logs import logged_to
from triplet_distillation.training.run import train_model

teacher = {
    "weights": snakemake.input.get("teacher"),
    "embeddings": snakemake.input.get("teacher_embeddings"),
    "sidecar": snakemake.input.get("teacher_sidecar"),
}

with logged_to(snakemake.log[0]):
    train_model(
        name=snakemake.wildcards.get("role") or snakemake.wildcards.method,
        store=snakemake.input.store,
        training_set=snakemake.input.training_set,
        settings=snakemake.params.settings,
        seed=int(snakemake.wildcards.seed),
        code=snakemake.params.code,
        output_weights=snakemake.output.weights,
        output_history=snakemake.output.history,
        initial=snakemake.input.get("initial"),
        teacher=teacher if teacher["weights"] else None,
        margins=snakemake.input.get("margins"),
    )
