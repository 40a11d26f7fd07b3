"""A model as files for pipelines that do not know kcinn: TensorFlow SavedModel, or ONNX."""

from kcinn.export.write import FORMATS, export_model

__all__ = ["FORMATS", "export_model"]
