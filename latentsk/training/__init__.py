"""Training of torch modules: knows tensors and modules, not estimators."""
