rule table1:
    """Table 1: what the networks cost, beside the paper's numbers."""
    input:
        profiles=expand("<results>/profile/{network}.json", network=study["profile"]["networks"]),
    output:
        csv="<results>/tables/table1.csv",
        html=report(
            "<results>/tables/table1.html",
            caption=caption("table1"),
            category="5 Tables of the paper",
            labels={"item": "Table 1: cost of the networks", "kind": "table"},
        ),
        tex="<results>/tables/table1.tex",
    log:
        "<results>/logs/table1.log",
    benchmark:
        "<results>/benchmarks/table1.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        networks=study["profile"]["networks"],
        code=code("table1.py"),
    script:
        "../scripts/table1.py"


rule table2:
    """Table 2: accuracy of every model on every benchmark, with intervals."""
    input:
        scores=expand("<results>/evaluation/{model}/seed{seed}.parquet", model=MODELS, seed=SEEDS),
        training_set="<results>/split/training_set.parquet",
    output:
        csv="<results>/tables/table2.csv",
        html=report(
            "<results>/tables/table2.html",
            caption=caption("table2"),
            category="5 Tables of the paper",
            labels={"item": "Table 2: verification accuracy", "kind": "table"},
        ),
        tex="<results>/tables/table2.tex",
    log:
        "<results>/logs/table2.log",
    benchmark:
        "<results>/benchmarks/table2.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        models=MODELS,
        labels=LABELS,
        benchmarks=BENCHMARKS,
        settings=RESAMPLING,
        seeds=SEEDS,
        code=code("table2.py"),
    script:
        "../scripts/table2.py"


rule verification:
    """Every figure of every model: accuracy by folds, AUC, EER, TAR at FAR."""
    input:
        figures=expand("<results>/evaluation/{model}/seed{seed}.json", model=MODELS, seed=SEEDS),
    output:
        csv="<results>/tables/verification.csv",
        html=report(
            "<results>/tables/verification.html",
            caption=caption("verification"),
            category="4 Evaluation",
            labels={"item": "Verification in full", "kind": "table"},
        ),
    log:
        "<results>/logs/verification.log",
    benchmark:
        "<results>/benchmarks/verification.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        models=MODELS,
        labels=LABELS,
        benchmarks=BENCHMARKS,
        seeds=SEEDS,
        code=code("verification.py"),
    script:
        "../scripts/verification.py"


rule findings:
    """What the study says: warnings, changes, and which differences hold."""
    input:
        scores=expand("<results>/evaluation/{model}/seed{seed}.parquet", model=MODELS, seed=SEEDS),
        figures=expand("<results>/evaluation/{model}/seed{seed}.json", model=MODELS, seed=SEEDS),
        histories=expand("<results>/{model}/seed{seed}/history.parquet", model=STUDENTS, seed=SEEDS),
        margins=expand("<results>/calibration/{distance}.seed{seed}.json", distance=DISTANCES, seed=SEEDS[0]),
    output:
        csv="<results>/tables/comparisons.csv",
        html=report(
            "<results>/tables/findings.html",
            caption=caption("findings"),
            category="0 Findings",
            labels={"item": "Findings", "kind": "table"},
        ),
    log:
        "<results>/logs/findings.log",
    benchmark:
        "<results>/benchmarks/findings.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        models=MODELS,
        students=STUDENTS,
        distances=DISTANCES,
        labels=LABELS,
        benchmarks=BENCHMARKS,
        settings=RESAMPLING,
        seeds=SEEDS,
        code=code("findings.py"),
    script:
        "../scripts/findings.py"
