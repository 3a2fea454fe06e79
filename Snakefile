# Table of contents: configuration, the stages of the pipeline in order, the targets.
from snakemake.utils import min_version

min_version("9.0")


configfile: workflow.current_basedir.join("config.yaml").get_path_or_uri(secret_free=True)


include: "workflow/rules/common.smk"


pathvars:
    results=f"results/{study['study']}",


if workflow.is_main_process:
    sharing.remove_broken_links(PATHVARS.apply("<results>"))


report: "report/workflow.rst"


include: "workflow/rules/resources.smk"
include: "workflow/rules/template.smk"
include: "workflow/rules/acquire.smk"
include: "workflow/rules/align.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/embed.smk"
include: "workflow/rules/calibrate.smk"
include: "workflow/rules/distill.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/profile.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/structure.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/export.smk"
include: "workflow/rules/reproduce.smk"
include: "workflow/rules/crate.smk"
include: "workflow/rules/packs.smk"
include: "workflow/rules/check.smk"


onstart:
    os.environ[logs.SHOWN_AT_END] = "1"
    show_one_line_per_job()
    check_local_files()
    if line := older_results():
        print(line, file=sys.stderr)


onerror:
    show_causes_at_exit()


# Targets, named by what they collect; all other rules but cost are named by a verb, also check and reproduce.
rule all:
    default_target: True
    input:
        rules.make_report.output,
        rules.export.output,
        rules.hash_study.output,


rule faces:
    input:
        expand("<results>/faces/{dataset}/store.arrow", dataset=study["datasets"]),
        rules.make_quality_table.output,


rule models:
    input:
        WEIGHTS,


rule table1:
    input:
        rules.make_table1.output,


rule table2:
    input:
        rules.make_table2.output,


rule figures:
    input:
        FIGURES,


rule report:
    input:
        rules.make_report.output,


rule crate:
    input:
        rules.make_crate.output,


rule reproduce:
    input:
        rules.compare_hashes.output,


rule packs:
    input:
        expand("<results>/packs/{dataset}/train.rec", dataset=PACKED),
        expand("<results>/packs/{benchmark}.bin", benchmark=PAIRS_OF_FACES),


rule pack_checks:
    input:
        expand("<results>/packs/{dataset}.check.json", dataset=PACKED),
