from triplet_distillation.files import read_json
from triplet_distillation.logs import logged_to, summary
from triplet_distillation.reporting.context import ReportContext, group
from triplet_distillation.reporting.findings import AboutNumbers, TrainingFacts, write_findings
from triplet_distillation.reporting.protocols import describe_protocols, describe_split
from triplet_distillation.reporting.runs import Evaluations
from triplet_distillation.reporting.tables import TableFiles

with logged_to(snakemake.log[0]):
    context = ReportContext(**snakemake.params.context)
    evaluations = Evaluations(context.by_model(snakemake.input.scores), snakemake.input.training_sets, context)
    runs, names = len(context.seeds), snakemake.params
    write_findings(
        evaluations=evaluations,
        claims=names.claims,
        training=TrainingFacts(
            histories=group(snakemake.input.histories, dict.fromkeys(names.students, runs)),
            margins=group(snakemake.input.margins, dict.fromkeys(names.distances, runs)),
            from_scratch=names.from_scratch,
        ),
        about=AboutNumbers(
            split=describe_split(context, names.held_out, names.imported),
            protocols=describe_protocols(context, snakemake.input.stores),
        ),
        outputs=TableFiles(snakemake.output.csv, snakemake.output.html, snakemake.output.tex),
        sentences_file=snakemake.output.sentences,
    )
    summary(read_json(snakemake.output.sentences)["sentences"][0])
