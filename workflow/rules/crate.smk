# The finished study in one file, to hand on: results, configuration, weights, the workflow itself, and their checksums.
use rule template as make_crate with:
    input:
        results=[
            rules.make_report.output,
            rules.make_report.input.results,
            TABLES,
            [rules.compare_structures.output[name] for name in rules.compare_structures.output.keys()],
            rules.make_notebook_page.output.notebook,
            [rules.make_timing_table.output.csv, rules.make_timing_table.output.tex],
            rules.make_findings.input.margins,
            rules.hash_study.output,
            rules.export.output,
        ],
        config=rules.write_config.output,
        timings=rules.make_timing_table.output.totals,
        environment=rules.make_environment_page.output.json,
        quality=rules.make_quality_table.output.csv,
        weights=WEIGHTS,
        evaluations=[*evaluations("metrics.json"), *evaluations("scores.parquet")],
    output:
        "<results>/crate.zip",
    pathvars:
        name="make_crate",
    params:
        script="make_crate.py",
        root=ROOT,
        folder=subpath(output[0], parent=True),
        packages=["snakemake", "torch", "numpy", "onnxruntime"],
        facts={
            "study": study["study"],
            "title": study["title"],
            "description": "The results of a study that compares ways to train a small face recognition network.",
        },
        code=lambda wildcards: code("make_crate.py"),
