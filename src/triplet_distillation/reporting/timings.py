"""Wall time and peak memory of every stage, from what Snakemake measures of each job (``benchmark:``)."""

import html
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.files import write_json, write_text
from triplet_distillation.logs import as_duration
from triplet_distillation.reporting import pages
from triplet_distillation.tabular import write_table


class TimingFiles(NamedTuple):
    """Paths of the table (``csv``, ``tex``), of the page (``html``), and of the ``totals`` (JSON)."""

    csv: str
    html: str
    tex: str
    totals: str


def read_timings(paths: Mapping[str, list[str]]) -> pd.DataFrame:
    """One row per job, by its start: ``rule, started, ended`` (s since 1970), ``seconds, peak_mib``.

    Args:
        paths: rule to the timings of its jobs; those that have not run, or not yet, have none. A job ended when its
            file was written.
    """
    rows = []
    for rule, files in paths.items():
        for path in filter(Path.is_file, map(Path, files)):
            # Snakemake writes "-" for the memory of a job that ended before it was looked at.
            found, ended = pd.read_csv(path, sep="\t", na_values="-").iloc[-1], path.stat().st_mtime
            rows.append((rule, ended - found.s, ended, found.s, found.max_rss))
    table = pd.DataFrame(rows, columns=["rule", "started", "ended", "seconds", "peak_mib"])
    return table.sort_values("started", kind="stable", ignore_index=True)


def time_at_work(started: pd.Series, ended: pd.Series) -> float:
    """Seconds during which at least one job ran: pauses between two calls of Snakemake do not count."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(zip(started, ended)):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def write_timings(paths: Mapping[str, list[str]], outputs: TimingFiles) -> None:
    """Write the table of stages, one row per rule: ``rule, jobs, seconds, longest_seconds, peak_mib``; and the totals.

    The totals are ``jobs``, ``seconds`` (the sum over jobs), ``seconds_at_work`` (see :func:`time_at_work`),
    ``peak_mib`` (None if it was not measured), and the ISO 8601 times at which the first job ``started`` and the last
    one ``ended``.

    Args:
        paths: as :func:`read_timings` takes them.
        outputs: paths.
    """
    jobs = read_timings(paths)
    by_rule = jobs.groupby("rule", sort=False)
    table = by_rule.agg(
        jobs=("seconds", "size"),
        seconds=("seconds", "sum"),
        longest_seconds=("seconds", "max"),
        peak_mib=("peak_mib", "max"),
    ).reset_index()
    write_table(outputs.csv, table)
    peak = jobs.peak_mib.max()
    totals = {
        "jobs": len(jobs),
        "seconds": float(jobs.seconds.sum()),
        "seconds_at_work": time_at_work(jobs.started, jobs.ended),
        "peak_mib": None if pd.isna(peak) else float(peak),
        "started": _as_date(jobs.started.min()),
        "ended": _as_date(jobs.ended.max()),
    }
    write_json(outputs.totals, totals)
    shown = _shown(table)
    write_text(outputs.tex, pages.latex(shown))
    write_text(
        outputs.html,
        pages.page(
            "Wall time and peak memory",
            pages.paragraph(
                f"The study took {as_duration(totals['seconds_at_work'])}, in which its {totals['jobs']:,} jobs "
                f"ran for {as_duration(totals['seconds'])} altogether.",
                "lead",
            ),
            pages.table(*shown),
            pages.notes(
                [
                    "Pauses between two calls of Snakemake do not count. Not counted either: starting Snakemake, and "
                    "this report.",
                    "A result that another study had already made is only linked: its job takes a second. How long the "
                    "training itself took is in timing.json beside its weights.",
                    "Peak memory is that of one job with its processes (resident set size, sampled by Snakemake); a "
                    "dash if all jobs ended before the first sample.",
                ]
            ),
        ),
    )


def _as_date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _shown(table: pd.DataFrame) -> pages.Table:
    rows = [
        [
            html.escape(str(rule).replace("_", " ")),
            f"{jobs:,}",
            f"{seconds / 60:.2f}",
            f"{longest / 60:.2f}",
            pages.DASH if np.isnan(peak) else f"{peak:,.0f}",
        ]
        for rule, jobs, seconds, longest, peak in table.to_numpy().tolist()
    ]
    header = ["stage", "jobs", "all jobs, min", "longest job, min", "peak memory, MiB"]
    return pages.Table(header, rows, title="Wall time and peak memory of every stage")
