rule figure_faces_strip:
    """A strip of aligned faces."""
    input:
        store=TRAINING_STORE,
    output:
        report(
            "<results>/figures/faces.png",
            caption=caption("faces_strip"),
            category="1 Faces",
            labels={"item": "Aligned faces", "kind": "figure"},
        ),
    log:
        "<results>/logs/figures/faces_strip.log",
    benchmark:
        "<results>/benchmarks/figures/faces_strip.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code("figure_faces_strip.py"),
    script:
        "../scripts/figure_faces_strip.py"


rule figure_training_curves:
    """Loss of every model over its steps."""
    input:
        first_stage=expand("<results>/{role}/seed{seed}/history.parquet", role=TRAINED, seed=SEEDS),
        second_stage=expand("<results>/{model}/seed{seed}/history.parquet", model=STUDENTS, seed=SEEDS),
    output:
        report(
            "<results>/figures/training_curves.svg",
            caption=caption("training_curves"),
            category="2 Training",
            labels={"item": "Training curves", "kind": "figure"},
        ),
    log:
        "<results>/logs/figures/training_curves.log",
    benchmark:
        "<results>/benchmarks/figures/training_curves.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        trained=TRAINED,
        students=STUDENTS,
        labels=LABELS,
        seeds=SEEDS,
        code=code("figure_training_curves.py"),
    script:
        "../scripts/figure_training_curves.py"


rule figure_calibration:
    """The sampled triplets' d, the margins, and the line F(d)."""
    input:
        margins=expand("<results>/calibration/{distance}.seed{seed}.json", distance=DISTANCES, seed=SEEDS[0]),
        triplets=expand("<results>/calibration/{distance}.seed{seed}.csv", distance=DISTANCES, seed=SEEDS[0]),
    output:
        report(
            "<results>/figures/calibration.svg",
            caption=caption("calibration"),
            category="3 Calibration",
            labels={"item": "Calibration of the margins", "kind": "figure"},
        ),
    log:
        "<results>/logs/figures/calibration.log",
    benchmark:
        "<results>/benchmarks/figures/calibration.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        distances=DISTANCES,
        code=code("figure_calibration.py"),
    script:
        "../scripts/figure_calibration.py"


rule figure_triplets:
    """A few triplets as photographs, with the margin that each method gives them."""
    input:
        store=TRAINING_STORE,
        training_set="<results>/split/training_set.parquet",
        margins=expand("<results>/calibration/{distance}.seed{seed}.json", distance=DISTANCES[:1], seed=SEEDS[0]),
        triplets=expand("<results>/calibration/{distance}.seed{seed}.csv", distance=DISTANCES[:1], seed=SEEDS[0]),
    output:
        report(
            "<results>/figures/triplets.png",
            caption=caption("triplets"),
            category="3 Calibration",
            labels={"item": "Triplets and their margins", "kind": "figure"},
        ),
    log:
        "<results>/logs/figures/triplets.log",
    benchmark:
        "<results>/benchmarks/figures/triplets.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        fixed=FIXED_MARGINS,
        distance=DISTANCES[:1],
        code=code("figure_triplets.py"),
    script:
        "../scripts/figure_triplets.py"


rule figure_roc:
    """True accepts against false accepts of every model."""
    input:
        scores=expand("<results>/evaluation/{model}/seed{seed}.parquet", model=MODELS, seed=SEEDS),
    output:
        report(
            "<results>/figures/roc.svg",
            caption=caption("roc"),
            category="4 Evaluation",
            labels={"item": "ROC", "kind": "figure"},
        ),
    log:
        "<results>/logs/figures/roc.log",
    benchmark:
        "<results>/benchmarks/figures/roc.tsv"
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
        seeds=SEEDS,
        code=code("figure_roc.py"),
    script:
        "../scripts/figure_roc.py"


rule figure_score_distributions:
    """Genuine and impostor scores of every model."""
    input:
        scores=expand("<results>/evaluation/{model}/seed{seed}.parquet", model=MODELS, seed=SEEDS),
    output:
        report(
            "<results>/figures/score_distributions.svg",
            caption=caption("score_distributions"),
            category="4 Evaluation",
            labels={"item": "Score distributions", "kind": "figure"},
        ),
    log:
        "<results>/logs/figures/score_distributions.log",
    benchmark:
        "<results>/benchmarks/figures/score_distributions.tsv"
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
        seeds=SEEDS,
        code=code("figure_score_distributions.py"),
    script:
        "../scripts/figure_score_distributions.py"


rule figure_accuracy_against_flops:
    """Accuracy of every model against its cost."""
    input:
        scores=expand("<results>/evaluation/{model}/seed{seed}.parquet", model=MODELS, seed=SEEDS),
        profiles=[f"<results>/profile/{network_of(model)}.json" for model in MODELS],
    output:
        report(
            "<results>/figures/accuracy_against_flops.svg",
            caption=caption("accuracy_against_flops"),
            category="5 Tables of the paper",
            labels={"item": "Accuracy against FLOPs", "kind": "figure"},
        ),
    log:
        "<results>/logs/figures/accuracy_against_flops.log",
    benchmark:
        "<results>/benchmarks/figures/accuracy_against_flops.tsv"
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
        seeds=SEEDS,
        settings=RESAMPLING,
        code=code("figure_accuracy_against_flops.py"),
    script:
        "../scripts/figure_accuracy_against_flops.py"


FIGURES = [
    rules.figure_faces_strip.output,
    rules.figure_training_curves.output,
    # Without a method that asks for margins there is nothing to calibrate.
    *([rules.figure_calibration.output, rules.figure_triplets.output] if DISTANCES else []),
    rules.figure_roc.output,
    rules.figure_score_distributions.output,
    rules.figure_accuracy_against_flops.output,
]
