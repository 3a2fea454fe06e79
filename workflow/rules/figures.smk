# A strip of aligned faces.
use rule template as plot_faces with:
    input:
        store=TRAINING_STORE,
    output:
        png=report(
            "<results>/figures/faces.png",
            caption=caption("faces"),
            category="1 Faces",
            labels={"item": "Aligned faces"},
        ),
        svg="<results>/figures/faces.svg",
    pathvars:
        name="plot_faces",
    params:
        script="plot_faces.py",
        code=lambda wildcards: code("plot_faces.py"),


# Loss of every model over its steps.
use rule template as plot_training_curves with:
    input:
        first_stage=[
            f"<results>/{role}/seed{seed}/history.parquet" for role in TRAINED for seed in first_stage_seeds(role)
        ],
        second_stage=expand("<results>/{model}/seed{seed}/history.parquet", model=STUDENTS, seed=SEEDS),
    output:
        svg=report(
            "<results>/figures/training_curves.svg",
            caption=caption("training_curves"),
            category="2 Training",
            labels={"item": "Training curves"},
        ),
        png="<results>/figures/training_curves.png",
    pathvars:
        name="plot_training_curves",
    params:
        script="plot_training_curves.py",
        runs={role: len(first_stage_seeds(role)) for role in TRAINED} | {model: len(SEEDS) for model in STUDENTS},
        trained=TRAINED,
        context=REPORT_CONTEXT,
        code=lambda wildcards: code("plot_training_curves.py"),


# How similar the teacher finds images of one identity, and images and their mean.
use rule template as plot_center_similarities with:
    input:
        training_set=TRAINING_SETS[0],
        teacher_embeddings=f"<results>/teacher/seed{first_stage_seed('teacher', SEEDS[0])}/embeddings.npy",
        class_means=f"<results>/class_means/seed{SEEDS[0]}.safetensors",
    output:
        svg=report(
            "<results>/figures/center_similarities.svg",
            caption=caption("center_similarities"),
            category="2 Training",
            labels={"item": "Images and class means"},
        ),
        png="<results>/figures/center_similarities.png",
    pathvars:
        name="plot_center_similarities",
    params:
        script="plot_center_similarities.py",
        code=lambda wildcards: code("plot_center_similarities.py"),


# The sampled triplets' d, the margins, and the line F(d).
use rule template as plot_calibration with:
    input:
        margins=expand("<results>/calibration/{distance}.seed{seed}.json", distance=DISTANCES, seed=SEEDS[0]),
        triplets=expand("<results>/calibration/{distance}.seed{seed}.csv", distance=DISTANCES, seed=SEEDS[0]),
    output:
        svg=report(
            "<results>/figures/calibration.svg",
            caption=caption("calibration"),
            category="3 Calibration",
            labels={"item": "Calibration of the margins"},
        ),
        png="<results>/figures/calibration.png",
    pathvars:
        name="plot_calibration",
    params:
        script="plot_calibration.py",
        distances=DISTANCES,
        code=lambda wildcards: code("plot_calibration.py"),


# A few triplets as images, with the margin that each method gives them.
use rule template as plot_triplets with:
    input:
        store=TRAINING_STORE,
        training_set=TRAINING_SETS[0],
        margins=expand("<results>/calibration/{distance}.seed{seed}.json", distance=DISTANCES[:1], seed=SEEDS[0]),
        triplets=expand("<results>/calibration/{distance}.seed{seed}.csv", distance=DISTANCES[:1], seed=SEEDS[0]),
    output:
        png=report(
            "<results>/figures/triplets.png",
            caption=caption("triplets"),
            category="3 Calibration",
            labels={"item": "Triplets and their margins"},
        ),
        svg="<results>/figures/triplets.svg",
    pathvars:
        name="plot_triplets",
    params:
        script="plot_triplets.py",
        fixed_margins=FIXED_MARGINS,
        code=lambda wildcards: code("plot_triplets.py"),


# True accepts against false accepts of every model.
use rule template as plot_roc with:
    input:
        scores=evaluations("scores.parquet"),
        training_sets=TRAINING_SETS,
    output:
        svg=report(
            "<results>/figures/roc.svg",
            caption=caption("roc"),
            category="4 Evaluation",
            labels={"item": "ROC"},
        ),
        png="<results>/figures/roc.png",
    pathvars:
        name="plot_roc",
    params:
        script="plot_roc.py",
        context=REPORT_CONTEXT,
        code=lambda wildcards: code("plot_roc.py"),


# Genuine and impostor scores of every model.
use rule plot_roc as plot_score_distributions with:
    output:
        svg=report(
            "<results>/figures/score_distributions.svg",
            caption=caption("score_distributions"),
            category="4 Evaluation",
            labels={"item": "Score distributions"},
        ),
        png="<results>/figures/score_distributions.png",
    pathvars:
        name="plot_score_distributions",
    params:
        script="plot_score_distributions.py",
        code=lambda wildcards: code("plot_score_distributions.py"),


# Accuracy of every model against its cost.
use rule plot_roc as plot_accuracy_against_flops with:
    input:
        scores=evaluations("scores.parquet"),
        training_sets=TRAINING_SETS,
        profiles=[f"<results>/profile/{network_of(model)}.json" for model in WITH_NETWORK],
    output:
        svg=report(
            "<results>/figures/accuracy_against_flops.svg",
            caption=caption("accuracy_against_flops"),
            category="6 Tables of the paper",
            labels={"item": "Accuracy against FLOPs"},
        ),
        png="<results>/figures/accuracy_against_flops.png",
    pathvars:
        name="plot_accuracy_against_flops",
    params:
        script="plot_accuracy_against_flops.py",
        models=WITH_NETWORK,
        code=lambda wildcards: code("plot_accuracy_against_flops.py"),


# The pairs that every model gets most wrong, in the first run.
use rule template as make_failures with:
    input:
        scores=[
            f"<results>/evaluation/{model}/seed{evaluated_seed(model, SEEDS[0])}/scores.parquet" for model in MODELS
        ],
        stores=BENCHMARK_STORES,
        templates=[templates_of(benchmark, SEEDS[0]) for benchmark in BENCHMARKS],
    output:
        report(
            "<results>/figures/failures.html",
            caption=caption("failures"),
            category="4 Evaluation",
            labels={"item": "Failures: the most wrong pairs"},
        ),
    pathvars:
        name="make_failures",
    params:
        script="make_failures.py",
        context=REPORT_CONTEXT,
        code=lambda wildcards: code("make_failures.py"),


FIGURES = [
    rules.plot_faces.output,
    rules.plot_training_curves.output,
    *([rules.plot_center_similarities.output] if USES_CLASS_MEANS else []),
    # If no method requires margins, there is nothing to calibrate.
    *([rules.plot_calibration.output, rules.plot_triplets.output] if DISTANCES else []),
    rules.plot_roc.output,
    rules.plot_score_distributions.output,
    rules.make_failures.output,
    rules.plot_accuracy_against_flops.output,
]
