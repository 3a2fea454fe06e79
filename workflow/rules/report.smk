rule resolved_config:
    """Write the configuration that the results come from, defaults and overrides included."""
    output:
        "<results>/config.yaml",
    log:
        "<results>/logs/resolved_config.log",
    benchmark:
        "<results>/benchmarks/resolved_config.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        config=configuration.for_rerun(config, study),
        code=code("resolved_config.py"),
    script:
        "../scripts/resolved_config.py"


localrules:
    report,


rule report:
    """Gather tables and figures into one HTML file that opens offline."""
    input:
        results=[
            rules.findings.output.html,
            rules.quality.output.html,
            FIGURES,
            rules.verification.output.html,
            rules.table1.output.html,
            rules.table2.output.html,
        ],
        config="<results>/config.yaml",
        front_page=caption("workflow"),
        captions=sorted(str(path) for path in (ROOT / "report").glob("*.rst")),
    output:
        "<results>/report.html",
    log:
        "<results>/logs/report.log",
    benchmark:
        "<results>/benchmarks/report.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        snakefile=ROOT / "Snakefile",
        code=code("report.py"),
    script:
        "../scripts/report.py"
