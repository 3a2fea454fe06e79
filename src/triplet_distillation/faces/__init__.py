"""From images to aligned faces in a store, and the pairs of a benchmark."""
