"""A trained student outside the study: exported with a model card, and applied to images."""
