"""Fitted estimators as files that need onnxruntime alone."""

from latentsk.export._to_onnx import to_onnx

__all__ = ["to_onnx"]
