# Whether students learn the teacher's similarity structure: a notebook that writes a table, verdicts and figures.
# A rule with `notebook:` cannot inherit from template.smk, which runs a script.
rule compare_structures:
    input:
        structure_inputs(),
    output:
        study="<results>/notebooks/similarity_structure.json",
        csv="<results>/tables/structure.csv",
        runs="<results>/tables/structure_runs.csv",
        comparisons="<results>/tables/structure_comparisons.csv",
        tex="<results>/tables/structure.tex",
        distances=["<results>/figures/identity_distances.svg", "<results>/figures/identity_distances.png"],
        margins=["<results>/figures/margin_against_distance.svg", "<results>/figures/margin_against_distance.png"],
    log:
        "<results>/logs/compare_structures.log",
    benchmark:
        "<results>/timings/compare_structures.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory_of("compare_structures"),
        runtime=minutes_of("compare_structures"),
    params:
        study=STRUCTURE,
        code=lambda wildcards: notebook_code("similarity_structure.ipynb"),
    notebook:
        "../notebooks/similarity_structure.ipynb"


# The notebook as a reader gets it: run from the results alone, without Snakemake, and shown as a page.
use rule template as make_notebook_page with:
    input:
        structure_inputs(),
        study=rules.compare_structures.output.study,
        notebook=local(str(ROOT / "workflow/notebooks/similarity_structure.ipynb")),
    output:
        notebook="<results>/notebooks/similarity_structure.ipynb",
        html=report(
            "<results>/notebooks/similarity_structure.html",
            caption=caption("structure"),
            category="5 Similarity structure",
            labels={"item": "Does the student learn the teacher's similarity structure?"},
        ),
    pathvars:
        name="make_notebook_page",
    resources:
        mem_mb=memory_of("make_notebook_page"),
        runtime=minutes_of("make_notebook_page"),
    params:
        script="make_notebook_page.py",
        code=lambda wildcards: code("make_notebook_page.py"),
        notebook_code=lambda wildcards: notebook_code("similarity_structure.ipynb"),
