"""What jobs ask for, by the size of the inputs that count."""

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SNAKEFILE = f"""
from pathlib import Path

ROOT = Path({str(ROOT)!r})


include: ROOT / "workflow/rules/resources.smk"


rule evaluate:
    input:
        embeddings=["kept0", "kept1"],
        stores="store",
        pairs="pairs",
    output:
        "asked.txt",
    resources:
        mem_mb=memory_of("evaluate"),
        runtime=minutes_of("template"),
    shell:
        "echo {{resources.mem_mb}} {{resources.runtime}} > {{output}}"
"""


def test_only_the_named_inputs_count_or_else_all(tmp_path):
    sizes = {"kept0": 50, "kept1": 100, "store": 20_000, "pairs": 50}
    for name, megabytes in sizes.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(megabytes * 2**20)
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all", "--directory", str(tmp_path)]
    subprocess.run([*command, "--snakefile", str(tmp_path / "Snakefile")], check=True, cwd=tmp_path)
    demands = yaml.safe_load((ROOT / "workflow/resources.yaml").read_text())
    evaluate, template = demands["evaluate"], demands["template"]
    assert set(evaluate["inputs"]) == {"embeddings", "pairs", "templates"}
    # 300 MB are for the Snakemake that runs the job.
    expected = [
        300 + evaluate["mb"] + 0.2 * evaluate["mb_per_gb"],
        template["minutes"] + 20.2 * template["minutes_per_gb"],
    ]
    assert (tmp_path / "asked.txt").read_text().split() == [str(round(each)) for each in expected]
