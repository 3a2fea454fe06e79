"""``python -m triplet_distillation``: apply an exported model to images; check and compare finished studies.

compare MODEL A.jpg B.jpg    the score of two images, with the threshold and its false accept rate
embed MODEL FOLDER           a table of embeddings, as Parquet
verify CRATE                 whether the files of a study are those that its crate was made of
side-by-side STUDY STUDY …   a page with the results of several finished studies
"""

import argparse
import io
import logging
import sys
from pathlib import Path

from triplet_distillation.tabular import check_output, write_table


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 1 if the input is invalid or a crate differs."""
    parser = argparse.ArgumentParser(
        prog="python -m triplet_distillation",
        description="Apply an exported model; check and compare finished studies.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    comparing = commands.add_parser("compare", help="score of two images, and the threshold")
    comparing.add_argument("model", help="model.onnx or model.safetensors, written by the rule export")
    comparing.add_argument("images", nargs=2, type=Path, metavar="IMAGE")
    comparing.add_argument("--far", type=float, help="false accept rate of the threshold (default: the strictest)")
    comparing.add_argument(
        "--benchmark", metavar="NAME", help="whose threshold to take (default: the highest of all at that rate)"
    )
    embedding = commands.add_parser("embed", help="embeddings of a folder's images, as Parquet")
    embedding.add_argument("model", help="model.onnx or model.safetensors, written by the rule export")
    embedding.add_argument("folder", type=Path)
    embedding.add_argument("--output", type=Path, default=Path("embeddings.parquet"))
    verifying = commands.add_parser("verify", help="what differs from the crate as it was made")
    verifying.add_argument("crate", type=Path, help="crate.zip, or the folder that it was unpacked to")
    comparing_studies = commands.add_parser("side-by-side", help="results of several studies on one page")
    comparing_studies.add_argument("studies", nargs="+", type=Path, metavar="STUDY", help="results/<study>")
    comparing_studies.add_argument("--output", type=Path, default=Path("studies.html"))
    options = parser.parse_args(arguments)
    logging.basicConfig(format="note: %(message)s")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of people and files, in a locale that may lack their letters
            stream.reconfigure(errors="backslashreplace")
    try:
        return COMMANDS[options.command](options)
    except (ValueError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _compare(options: argparse.Namespace) -> int:
    from triplet_distillation.deployment.model import Model, compare

    first, second = options.images
    found = compare(Model(options.model), first, second, options.far, options.benchmark)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if found.threshold is None:
        print(f"score {found.score:.4f}; the model has no threshold")
        return 0
    answer = "same person" if found.score >= found.threshold else "different people"
    print(
        f"score {found.score:.4f}, threshold {found.threshold:.4f} at a false accept rate of {found.far:g} "
        f"({found.benchmark}): {answer}"
    )
    return 0


def _embed(options: argparse.Namespace) -> int:
    from triplet_distillation.deployment.model import Model, embed_folder
    from triplet_distillation.faces.align import count_outcomes
    from triplet_distillation.networks.execution import keep_memory

    keep_memory()
    check_output(options.output)
    table = embed_folder(Model(options.model), options.folder)
    write_table(options.output, table)
    print(f"{options.output}: {count_outcomes(table)}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from triplet_distillation.deployment.crate import verify_crate

    differences = verify_crate(options.crate)
    print("\n".join(differences) or f"{options.crate}: every file is as it was")
    return int(bool(differences))


def _side_by_side(options: argparse.Namespace) -> int:
    from triplet_distillation.reporting.studies import write_studies

    write_studies(options.studies, options.output)
    print(options.output)
    return 0


COMMANDS = {"compare": _compare, "embed": _embed, "verify": _verify, "side-by-side": _side_by_side}


if __name__ == "__main__":
    sys.exit(main())
