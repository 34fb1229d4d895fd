"""Plain torch modules, usable without scikit-learn."""
