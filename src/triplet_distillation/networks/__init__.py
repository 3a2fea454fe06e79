"""Networks: images [B, 3, 112, 112] float32 to embeddings [B, embedding_size] float32, not normalised."""
