from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.context import ReportContext, group
from triplet_distillation.reporting.methods import MethodEntry, MethodFacts, MethodsTableFiles, write_methods
from triplet_distillation.reporting.runs import Evaluations

with logged_to(snakemake.log[0]):
    files, params = snakemake.input, snakemake.params
    context = ReportContext(**params.context)
    facts = MethodFacts(
        entries={model: MethodEntry(**entry) for model, entry in params.methods.items()},
        student_images=params.student_images,
        timings=group(files.timings, params.timed),
        store=files.store,
        comparisons=files.comparisons,
        reference=params.reference,
    )
    evaluations = Evaluations(context.by_model(files.scores), files.training_sets, context)
    outputs = snakemake.output
    write_methods(
        evaluations,
        facts,
        MethodsTableFiles(outputs.csv, outputs.html, outputs.tex, [outputs.figure, outputs.figure_png]),
    )
