"""Wall time and peak memory, from what Snakemake writes about each job."""

import os

import pandas as pd
import pytest

from triplet_distillation.files import read_json
from triplet_distillation.reporting import timings

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def write_timing(folder, name, seconds, peak, ended):
    path = folder / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + f"{seconds}\t0:00:00\t{peak}\t1\t1\t1\t1\t1\t1\t1\n")
    os.utime(path, (ended, ended))


@pytest.fixture
def folder(tmp_path):
    """A study that was interrupted for a day: two trainings at the same time, later a table."""
    write_timing(tmp_path, "train/teacher.seed0", 100, 2000.5, 1100)
    write_timing(tmp_path, "train/student/seed0", 60, 900, 1120)
    write_timing(tmp_path, "make_table1", 2, "-", 90000)
    write_timing(tmp_path, "train/student/seed9", 60, 900, 1120)  # of a run that the study no longer has
    return tmp_path


def test_jobs_are_grouped_by_rule_in_the_order_of_their_start(folder, tmp_path):
    outputs = timings.TimingFiles(*(str(tmp_path / f"out/timings.{kind}") for kind in ("csv", "html", "tex", "json")))
    names = {
        "make_table1": ["make_table1"],
        "train": ["train/teacher.seed0", "train/student/seed0"],
        "export": ["export"],
    }
    paths = {rule: [str(folder / f"{name}.tsv") for name in each] for rule, each in names.items()}
    timings.write_timings(paths, outputs)
    table = pd.read_csv(outputs.csv)
    assert table.rule.tolist() == ["train", "make_table1"]
    assert table.jobs.tolist() == [2, 1]
    assert table.seconds.tolist() == [160, 2]
    assert table.longest_seconds.tolist() == [100, 2]
    assert table.peak_mib.isna().tolist() == [False, True]
    # 1000 to 1120 s, where both trainings overlap, and the table's two seconds; not the day between.
    totals = {"jobs": 3, "seconds": 162, "seconds_at_work": 122, "peak_mib": 2000.5}
    times = {"started": "1970-01-01T00:16:40+00:00", "ended": "1970-01-02T01:00:00+00:00"}
    assert read_json(outputs.totals) == totals | times
    page = (tmp_path / "out/timings.html").read_text()
    assert "2 min 2 s" in page and "2,000" in page and "2.67" in page and ">–</td>" in page
