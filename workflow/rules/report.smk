# What the report shows of the results; wall time and environment are added last.
RESULTS_TO_SHOW = [
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
]
STUDY_FACTS = {
    "title": study["title"],
    **{role: model_in_words(role) for role in ("teacher", "student")},
    "dataset": study["training_data"]["dataset"],
    "second_stage": f"{study['second_stage']['training']['iterations']} steps unless a method says otherwise",
    "portable": study["execution"]["portable"],
}
# What the front page leads to.
LINKS_ON_FRONT_PAGE = {
    "Findings": "<results>/tables/findings.html",
    "Data quality": "<results>/faces/quality.html",
    "Training": "<results>/figures/training_curves.svg",
    **({"Calibration": "<results>/figures/calibration.svg"} if DISTANCES else {}),
    "Evaluation": "<results>/tables/verification.html",
    "Failures": "<results>/figures/failures.html",
    "Similarity structure": "<results>/notebooks/similarity_structure.html",
    "Table 1: cost": "<results>/tables/table1.html",
    "Table 2: accuracy": "<results>/tables/table2.html",
    "Methods": "<results>/tables/methods.html",
    "Environment": "<results>/tables/environment.html",
    "Wall time and memory": "<results>/tables/timings.html",
}


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


# Wall time and peak memory of every stage; last, when all other jobs have been measured.
use rule template as make_timing_table with:
    input:
        RESULTS_TO_SHOW,
    output:
        csv="<results>/tables/timings.csv",
        html=report(
            "<results>/tables/timings.html",
            caption=caption("timings"),
            category="8 Run",
            labels={"item": "Wall time and peak memory"},
        ),
        tex="<results>/tables/timings.tex",
        totals="<results>/tables/timings.json",
    pathvars:
        name="make_timing_table",
    localrule: True  # only the process that plans the study knows its jobs
    params:
        script="make_timing_table.py",
        timings=lambda wildcards, output: timings_of_jobs(),
        code=lambda wildcards: code("make_timing_table.py"),


# Machine, versions, commit and configuration.
use rule template as make_environment_page with:
    input:
        RESULTS_TO_SHOW,
        weights=WEIGHTS,
        config="<results>/config.yaml",
    output:
        json="<results>/tables/environment.json",
        html=report(
            "<results>/tables/environment.html",
            caption=caption("environment"),
            category="8 Run",
            labels={"item": "Environment and configuration"},
        ),
    pathvars:
        name="make_environment_page",
    resources:
        mem_mb=memory_of("make_environment_page"),
        runtime=minutes_of("make_environment_page"),
        gpu=GPUS,
    params:
        script="make_environment_page.py",
        root=ROOT,
        device=study["execution"]["device"],
        code=lambda wildcards: code("make_environment_page.py"),


# What a reader wants to know first, on one screen.
use rule template as make_front_page with:
    input:
        table2=rules.make_table2.output.csv,
        comparisons=rules.make_findings.output.csv,
        findings=rules.make_findings.output.sentences,
        verification=rules.make_verification_table.output.csv,
        quality=rules.make_quality_table.output.csv,
        timings=rules.make_timing_table.output.totals,
        environment=rules.make_environment_page.output.json,
        training_sets=TRAINING_SETS,
    output:
        "<results>/front_page.html",
    pathvars:
        name="make_front_page",
    params:
        script="make_front_page.py",
        facts=STUDY_FACTS,
        context=REPORT_CONTEXT,
        links={name: PATHVARS.apply(path) for name, path in LINKS_ON_FRONT_PAGE.items()},
        code=lambda wildcards: code("make_front_page.py"),


# Collect tables and figures in one HTML file that opens offline.
use rule template as make_report with:
    input:
        results=[*RESULTS_TO_SHOW, rules.make_timing_table.output.html, rules.make_environment_page.output.html],
        front_page=rules.make_front_page.output,
        config="<results>/config.yaml",
        frame=local(caption("workflow")),
        metadata=local(str(ROOT / "report/metadata.yaml")),
        style=local(str(ROOT / "report/style.css")),
        captions=[local(path) for path in sorted(map(str, (ROOT / "report").glob("*.rst")))],
    output:
        "<results>/report.html",
    pathvars:
        name="make_report",
    localrule: True
    params:
        script="make_report.py",
        snakefile=ROOT / "Snakefile",
        code=lambda wildcards: code("make_report.py"),
