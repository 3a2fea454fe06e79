"""From weights to embeddings, verification scores and their uncertainty."""
