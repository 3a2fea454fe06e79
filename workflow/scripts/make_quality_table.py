from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.quality import BenchmarkFaces, Training, write_quality
from triplet_distillation.reporting.tables import TableFiles

with logged_to(snakemake.log[0]):
    files, names = snakemake.input, snakemake.params
    datasets = zip(names.datasets, files.stores, files.outcomes, files.origins)
    benchmarks = zip(names.benchmarks, files.benchmark_stores, files.faces)
    write_quality(
        datasets={name: {"store": a, "outcomes": b, "origin": c} for name, a, b, c in datasets},
        training=Training(files.training_store, list(files.training_sets)),
        benchmarks=[BenchmarkFaces(*about, *paths) for about, *paths in benchmarks],
        outputs=TableFiles(snakemake.output.csv, snakemake.output.html, snakemake.output.tex),
    )
