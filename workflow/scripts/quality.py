from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.quality import write_quality

with logged_to(snakemake.log[0]):
    given, names = snakemake.input, snakemake.params
    files = zip(names.datasets, given.stores, given.outcomes, given.origins)
    tests = zip(names.benchmarks, given.benchmark_stores, given.pairs)
    write_quality(
        datasets={name: {"store": a, "outcomes": b, "origin": c} for name, a, b, c in files},
        training={"store": given.training_store, "set": given.training_set},
        benchmarks={name: {"store": a, "pairs": b} for name, a, b in tests},
        csv=snakemake.output.csv,
        html_page=snakemake.output.html,
    )
