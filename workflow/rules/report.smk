# Write the configuration that the results come from, including defaults and overrides.
use rule template as write_config with:
    output:
        "<results>/config.yaml",
    pathvars:
        name="write_config",
    params:
        script="write_config.py",
        config=configuration.for_rerun(config, study),
        code=lambda wildcards: code("write_config.py"),


# Collect tables and figures in one HTML file that opens offline.
use rule template as make_report with:
    input:
        results=[
            rules.make_findings.output.html,
            rules.make_quality_table.output.html,
            FIGURES,
            rules.make_verification_table.output.html,
            rules.make_notebook_page.output.html,
            rules.make_table1.output.html,
            rules.make_table2.output.html,
            rules.make_methods_table.output.html,
            rules.make_methods_table.output.figure,
            *([rules.make_ablation_table.output.html] if VARIANTS else []),
        ],
        config="<results>/config.yaml",
        front_page=caption("workflow"),
        captions=sorted(str(path) for path in (ROOT / "report").glob("*.rst")),
    output:
        "<results>/report.html",
    pathvars:
        name="make_report",
    localrule: True
    params:
        script="make_report.py",
        snakefile=ROOT / "Snakefile",
        code=lambda wildcards: code("make_report.py"),
