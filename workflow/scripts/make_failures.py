from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.context import ReportContext
from triplet_distillation.reporting.failures import BenchmarkFiles, write_failures

with logged_to(snakemake.log[0]):
    context = ReportContext(**snakemake.params.context)
    files = map(BenchmarkFiles, snakemake.input.stores, snakemake.input.templates)
    write_failures(
        scores=dict(zip(context.runs, snakemake.input.scores)),
        benchmarks=dict(zip(context.benchmarks, files)),
        context=context,
        output=snakemake.output[0],
    )
