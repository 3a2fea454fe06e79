"""Runs in the environment of mxnet: lists the number, labels and image digest of each record."""

import csv
import hashlib
import sys
from pathlib import Path

import mxnet

index, records, output = sys.argv[1:]
pack = mxnet.recordio.MXIndexedRecordIO(index, records, "r")
with Path(output).open("w", newline="", encoding="utf-8") as opened:
    rows = csv.writer(opened)
    rows.writerow(["record", "label", "second_label", "sha256", "shape"])
    for number in sorted(pack.keys):
        header, content = mxnet.recordio.unpack(pack.read_idx(number))
        labels = [float(label) for label in header.label] if header.flag else [float(header.label), ""]
        shape = "x".join(map(str, mxnet.image.imdecode(content).shape)) if content else ""
        rows.writerow([number, *labels, hashlib.sha256(content).hexdigest() if content else "", shape])
