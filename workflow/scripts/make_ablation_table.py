from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.ablations import Ablation, write_ablations
from triplet_distillation.reporting.context import ReportContext
from triplet_distillation.reporting.protocols import describe_protocols
from triplet_distillation.reporting.runs import Evaluations
from triplet_distillation.reporting.tables import TableFiles

with logged_to(snakemake.log[0]):
    context = ReportContext(**snakemake.params.context)
    evaluations = Evaluations(context.by_model(snakemake.input.scores), snakemake.input.training_sets, context)
    write_ablations(
        evaluations=evaluations,
        ablations=[Ablation(**each) for each in snakemake.params.ablations],
        protocols=describe_protocols(context, snakemake.input.stores),
        outputs=TableFiles(snakemake.output.csv, snakemake.output.html, snakemake.output.tex),
    )
