# Derive the margins from the teacher's distances in random triplets (§4.1).
use rule template as calibrate with:
    input:
        training_set=training_set,
        teacher_embeddings=teacher_embeddings,
    output:
        margins="<results>/calibration/{further}{distance}.seed{seed}.json",
        triplets="<results>/calibration/{further}{distance}.seed{seed}.csv",
    pathvars:
        name="calibrate/{further}{distance}.seed{seed}",
    conda:
        "../../envs/networks.yaml"
    resources:
        mem_mb=memory_of("calibrate"),
        runtime=minutes_of("calibrate"),
    params:
        script="calibrate.py",
        settings=study["calibration"],
        code=lambda wildcards: code("calibrate.py"),


# The mean margin that a distillation will train with, for its control.
use rule template as match_margin with:
    input:
        unpack(margin_inputs),
        store=TRAINING_STORE,
        training_set=training_set,
    output:
        "<results>/calibration/matched/{method}.seed{seed}.json",
    pathvars:
        name="match_margin/{method}.seed{seed}",
    conda:
        "../../envs/networks.yaml"
    resources:
        mem_mb=memory_of("match_margin"),
        runtime=minutes_of("match_margin"),
    params:
        script="match_margin.py",
        settings=lambda wildcards: {
            key: value
            for key, value in method_settings(wildcards.method).items()
            if key in ("loss", "loss_settings", "training")
        },
        code=lambda wildcards: code("match_margin.py", f"losses.{study['methods'][wildcards.method]['loss']}"),
