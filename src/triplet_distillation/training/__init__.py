"""Sampling, the one training loop for every stage, checkpoints, and the margins' calibration."""
