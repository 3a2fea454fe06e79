from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.context import ReportContext, group
from triplet_distillation.reporting.figures import plot_training_curves

with logged_to(snakemake.log[0]):
    counts, trained = snakemake.params.runs, snakemake.params.trained
    plot_training_curves(
        first_stage=group(snakemake.input.first_stage, {name: counts[name] for name in trained}),
        second_stage=group(
            snakemake.input.second_stage, {name: counts[name] for name in counts if name not in trained}
        ),
        context=ReportContext(**snakemake.params.context),
        outputs=list(snakemake.output),
    )
