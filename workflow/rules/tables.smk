# Networks of the study's teacher and student, which Table 1 has whether or not the study asks for their profile.
ROLES = {role: network_of(role) for role in ("teacher", "student")}
NETWORKS_OF_TABLE_1 = list(dict.fromkeys([*study["profile"]["networks"], *ROLES.values()]))


# Table 1: the cost of the networks, with the paper's numbers.
use rule template as make_table1 with:
    input:
        profiles=expand("<results>/profile/{network}.json", network=NETWORKS_OF_TABLE_1),
    output:
        csv="<results>/tables/table1.csv",
        html=report(
            "<results>/tables/table1.html",
            caption=caption("table1"),
            category="6 Tables of the paper",
            labels={"item": "Table 1: cost of the networks"},
        ),
        tex="<results>/tables/table1.tex",
    pathvars:
        name="make_table1",
    params:
        script="make_table1.py",
        networks=NETWORKS_OF_TABLE_1,
        roles=ROLES,
        code=lambda wildcards: code("make_table1.py"),


# Table 2: accuracy of every model on every benchmark, with intervals.
use rule template as make_table2 with:
    input:
        scores=evaluations("scores.parquet"),
        training_sets=TRAINING_SETS,
        stores=BENCHMARK_STORES,
    output:
        csv="<results>/tables/table2.csv",
        html=report(
            "<results>/tables/table2.html",
            caption=caption("table2"),
            category="6 Tables of the paper",
            labels={"item": "Table 2: verification accuracy"},
        ),
        tex="<results>/tables/table2.tex",
    pathvars:
        name="make_table2",
    params:
        script="make_table2.py",
        context=REPORT_CONTEXT,
        code=lambda wildcards: code("make_table2.py"),


# All metrics of every model: k-fold accuracy, AUC, EER, TAR at FAR.
use rule template as make_verification_table with:
    input:
        metrics=evaluations("metrics.json"),
        stores=BENCHMARK_STORES,
    output:
        csv="<results>/tables/verification.csv",
        html=report(
            "<results>/tables/verification.html",
            caption=caption("verification"),
            category="4 Evaluation",
            labels={"item": "All verification metrics"},
        ),
        tex="<results>/tables/verification.tex",
    pathvars:
        name="make_verification_table",
    params:
        script="make_verification_table.py",
        context=REPORT_CONTEXT,
        code=lambda wildcards: code("make_verification_table.py"),


# The findings of the study: warnings, changes, and which differences are supported.
use rule template as make_findings with:
    input:
        scores=evaluations("scores.parquet"),
        training_sets=TRAINING_SETS,
        stores=BENCHMARK_STORES,
        histories=expand("<results>/{model}/seed{seed}/history.parquet", model=STUDENTS, seed=SEEDS),
        margins=expand("<results>/calibration/{distance}.seed{seed}.json", distance=DISTANCES, seed=SEEDS),
    output:
        csv="<results>/tables/comparisons.csv",
        sentences="<results>/tables/findings.json",
        html=report(
            "<results>/tables/findings.html",
            caption=caption("findings"),
            category="0 Findings",
            labels={"item": "Findings"},
        ),
        tex="<results>/tables/comparisons.tex",
    pathvars:
        name="make_findings",
    params:
        script="make_findings.py",
        claims=CLAIMS,
        students=STUDENTS,
        from_scratch=FROM_SCRATCH,
        held_out=HELD_OUT_FROM_TRAINING,
        imported=[model for model in MODELS if model in PRETRAINED or model in SCORED_ELSEWHERE],
        distances=DISTANCES,
        context=REPORT_CONTEXT,
        code=lambda wildcards: code("make_findings.py"),


# Every method with its accuracy, cost and settings, by where it starts.
use rule template as make_methods_table with:
    input:
        scores=evaluations("scores.parquet"),
        training_sets=TRAINING_SETS,
        store=TRAINING_STORE,
        comparisons=rules.make_findings.output.csv,
        timings=[path for paths in TRAINING_TIMINGS.values() for path in paths],
    output:
        csv="<results>/tables/methods.csv",
        html=report(
            "<results>/tables/methods.html",
            caption=caption("methods"),
            category="6 Tables of the paper",
            labels={"item": "Methods compared"},
        ),
        tex="<results>/tables/methods.tex",
        figure=report(
            "<results>/figures/accuracy_against_training.svg",
            caption=caption("accuracy_against_training"),
            category="6 Tables of the paper",
            labels={"item": "Accuracy against training cost"},
        ),
        figure_png="<results>/figures/accuracy_against_training.png",
    pathvars:
        name="make_methods_table",
    params:
        script="make_methods_table.py",
        methods=METHOD_ENTRIES,
        student_images=images_trained_on(study["student"]["training"]) if "student" in TRAINED else 0,
        timed={model: len(paths) for model, paths in TRAINING_TIMINGS.items()},
        reference=f"students/{methods.reference_method(study)}",
        context=REPORT_CONTEXT,
        code=lambda wildcards: code("make_methods_table.py"),


# What one other setting of a method changes.
use rule template as make_ablation_table with:
    input:
        scores=evaluations("scores.parquet", ABLATION_CONTEXT),
        training_sets=TRAINING_SETS,
        stores=BENCHMARK_STORES,
    output:
        csv="<results>/tables/ablations.csv",
        html=report(
            "<results>/tables/ablations.html",
            caption=caption("ablations"),
            category="7 Ablations",
            labels={"item": "Ablations"},
        ),
        tex="<results>/tables/ablations.tex",
    pathvars:
        name="make_ablation_table",
    params:
        script="make_ablation_table.py",
        ablations=ABLATIONS,
        context=ABLATION_CONTEXT,
        code=lambda wildcards: code("make_ablation_table.py"),


# Count the outcomes of the alignment, and what training set and benchmarks have in common.
use rule template as make_quality_table with:
    input:
        stores=expand("<results>/faces/{dataset}/store.arrow", dataset=study["datasets"]),
        outcomes=expand("<results>/faces/{dataset}/alignment.csv", dataset=study["datasets"]),
        origins=expand("<results>/faces/{dataset}/origin.json", dataset=study["datasets"]),
        training_store=TRAINING_STORE,
        training_sets=TRAINING_SETS,
        benchmark_stores=[benchmark_store(benchmark) for benchmark, _ in TESTED_IN_ROUND],
        faces=list(TEST_FACES.values()),
    output:
        csv="<results>/faces/quality.csv",
        html=report(
            "<results>/faces/quality.html",
            caption=caption("quality"),
            category="1 Faces",
            labels={"item": "Images and faces"},
        ),
        tex="<results>/faces/quality.tex",
    pathvars:
        name="make_quality_table",
    conda:
        "../../envs/faces.yaml"
    resources:
        mem_mb=memory_of("make_quality_table"),
        runtime=minutes_of("make_quality_table"),
    params:
        script="make_quality_table.py",
        datasets=list(study["datasets"]),
        benchmarks=[
            (BENCHMARKS[benchmark], number, benchmark in HELD_OUT_FROM_TRAINING) for benchmark, number in TEST_FACES
        ],
        code=lambda wildcards: code("make_quality_table.py"),


# For those who use the numbers: without the pages, which the report has.
TABLES = [
    [table.csv, table.tex]
    for table in (
        rules.make_table1.output,
        rules.make_table2.output,
        rules.make_verification_table.output,
        rules.make_findings.output,
        rules.make_methods_table.output,
        rules.make_quality_table.output,
        *([rules.make_ablation_table.output] if VARIANTS else []),
    )
]
