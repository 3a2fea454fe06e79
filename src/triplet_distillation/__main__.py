"""``python -m triplet_distillation``: an exported model on photographs.

compare MODEL A.jpg B.jpg    score of two photographs, with the threshold and its false match rate
embed MODEL FOLDER           a table of embeddings, as Parquet
"""

import argparse
import sys
from pathlib import Path

from triplet_distillation.files import write_table


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; gives the exit code: 0, or 1 with a message where the input is at fault."""
    parser = argparse.ArgumentParser(prog="python -m triplet_distillation", description="An exported model in use.")
    commands = parser.add_subparsers(dest="command", required=True)
    comparing = commands.add_parser("compare", help="score of two photographs, and the threshold")
    comparing.add_argument("model", help="model.onnx or model.safetensors, as the rule export writes them")
    comparing.add_argument("photographs", nargs=2, type=Path, metavar="PHOTOGRAPH")
    comparing.add_argument("--fmr", type=float, help="false match rate of the threshold (default: the strictest known)")
    embedding = commands.add_parser("embed", help="embeddings of a folder's photographs, as Parquet")
    embedding.add_argument("model")
    embedding.add_argument("folder", type=Path)
    embedding.add_argument("--output", type=Path, default=Path("embeddings.parquet"))
    options = parser.parse_args(arguments)
    try:
        print(_compare(options) if options.command == "compare" else _embed(options))
    except (ValueError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _compare(options) -> str:
    from triplet_distillation.deployment.model import Model, compare

    found = compare(Model(options.model), *options.photographs, options.fmr)
    if found.threshold is None:
        return f"score {found.score:.4f}; the model knows no threshold"
    answer = "the same person" if found.score >= found.threshold else "two people"
    return (
        f"score {found.score:.4f}, threshold {found.threshold:.4f} at a false match rate of {found.fmr:g} "
        f"({found.benchmark}): {answer}"
    )


def _embed(options) -> str:
    from triplet_distillation.deployment.model import Model, embed_folder
    from triplet_distillation.faces.align import counts

    table = embed_folder(Model(options.model), options.folder)
    write_table(options.output, table)
    return f"{options.output}: {counts(table)}"


if __name__ == "__main__":
    sys.exit(main())
