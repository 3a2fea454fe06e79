"""Triplet Distillation for Deep Face Recognition (arXiv 1905.04457) as a library.

Plain Python, independent of Snakemake. The packages, in the order in which data passes
through them: ``faces``, ``networks``, ``losses``, ``training``, ``evaluation``,
``reporting``, ``deployment``.
"""
