"""A trained student outside the study: exported, with a model card, and used on photographs."""
