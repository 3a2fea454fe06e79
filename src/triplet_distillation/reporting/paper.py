"""The numbers printed in the paper (arXiv 1905.04457), for comparison with those of a study."""

TABLE_1 = {
    "iresnet100": {"size_mib": 248.8, "parameters": 65.225e6, "flops": 24.23e9, "seconds_per_image": 2.45},
    "mobilefacenet": {"size_mib": 4.0, "parameters": 0.99e6, "flops": 0.49e9, "seconds_per_image": 0.31},
    "slim": {"size_mib": 2.3, "parameters": 0.59e6, "flops": 0.23e9, "seconds_per_image": 0.18},
}
"""By the network's name in the configuration."""

TABLE_1_NOTES = (
    "The paper gives the teacher's parameters as 652.25 × 10⁶; its size of 248.8 MiB at 4 bytes per parameter gives "
    "65.2 × 10⁶, the number that IResNet-100 has: a misprint by a factor of ten, corrected here.",
    "One multiply-add counts as two FLOPs. FLOPs are those of convolutions and matrix products; “with element-wise” "
    "adds batch normalization (2 per value), PReLU (2) and shortcuts (1). The paper used TFProf, which also counts the "
    "element-wise operations of its TensorFlow graph.",
    "The paper's times are means of 5000 runs with one thread on a Xeon E5-2609 v4 at 1.7 GHz, not on "
    "this machine: compare the ratios between rows.",
)

TABLE_2_BENCHMARKS = ("LFW", "AgeDB-30", "CPLFW")
TABLE_2 = {
    "Teacher (ResNet-100)": (99.73, 98.25, 92.85),
    "Student (ArcFace)": (98.75, 93.53, 78.53),
    "+ triplet, m = 0.3": (99.21, 94.08, 80.80),
    "+ triplet, m = 0.4": (99.23, 94.00, 81.16),
    "+ triplet, m = 0.5": (99.20, 93.80, 80.38),
    "+ triplet distillation": (99.27, 94.25, 81.28),
}
TABLE_2_NOTES = (
    "Trained on MS1M-IBUG: 3.8 million images of 85 thousand people (the paper's “85 identities” is a misprint).",
    "For triplet distillation on AgeDB-30, the paper's text gives 94.37, its table 94.25.",
    "With 6000 pairs, one standard error at 99.2% is 0.12 percentage points: the gain over the best fixed margin in "
    "the paper (0.04 on LFW) is well within it.",
)
