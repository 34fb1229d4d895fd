"""From scores to decisions: outlier detection over embedders and index."""
