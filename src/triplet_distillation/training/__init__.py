"""Sampling, the training loop of every stage, checkpoints, and the calibration of the margins."""
