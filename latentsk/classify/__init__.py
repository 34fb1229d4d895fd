"""Classifiers that know what their classes look like, and say "none of these"."""

from latentsk.classify._classifier import GenerativeClassifier

__all__ = ["GenerativeClassifier"]
