"""export_model: a folder with a model that runs without kcinn, and a description of what it takes and gives."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kcinn.devices import check_tensorflow
from kcinn.errors import ModelError
from kcinn.export.description import FUNCTIONS, describe
from kcinn.export.onnx_functions import DOMAIN, OPSET, add_functions
from kcinn.export.onnx_functions import FUNCTIONS as ONNX_FUNCTIONS
from kcinn.export.portable import Portable
from kcinn.model import CINN
from kcinn.replacing import check_folder

FORMATS = ("savedmodel", "onnx")
DESCRIPTION = "kcinn.json"


def export_model(model: CINN, folder: str | os.PathLike[str], *, format: str = "savedmodel") -> Path:
    """Write a model for pipelines that do not know kcinn.

    Its functions take spectra on the model's pixels as plain arrays, any number of them, and noise, any number of
    samples, and give what `kcinn.predict` gives; `kcinn.json` says which pixels, labels, units and flags.

    Parameters
    ----------
    model : CINN
    folder : path
        Is made; must be new or empty.
    format : {"savedmodel", "onnx"}
        TensorFlow SavedModel with the signatures `sample`, `summary` and `log_prob`, or a file of ONNX each for
        `sample` and `summary`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ModelError
        If the format is unknown, the folder is in use, the backend of Keras is not TensorFlow, or ONNX is asked for
        and tf2onnx is not installed.
    """
    folder = Path(folder)
    if format not in FORMATS:
        raise ModelError(f"format must be one of {', '.join(FORMATS)}. Received: {format!r}")
    check_tensorflow("Export")
    if format == "onnx" and importlib.util.find_spec("tf2onnx") is None:
        raise ModelError('Export to ONNX needs tf2onnx: pip install "kcinn[onnx]"')
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder} is in use. Pass a new folder.")
    check_folder(folder, ModelError)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.absolute().parent))
    try:
        {"savedmodel": _write_savedmodel, "onnx": _write_onnx}[format](model, partial)
        text = json.dumps(describe(model, partial, format), indent=1)
        (partial / DESCRIPTION).write_text(text, encoding="utf-8")
        partial.chmod(0o755)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _traceable(model: CINN, names: tuple[str, ...], *, shared: bool) -> dict[str, Any]:
    """The functions of a portable model as ``tf.function`` with fixed names, types and, where known, sizes.

    If `shared`, one copy of the encoder serves all of them.
    """
    import tensorflow as tf

    sizes = {"n_pixels": model.instrument.n_pixels, "n_labels": len(model.label_space)}
    spectrum = [tf.TensorSpec([None, sizes["n_pixels"]], "float32")] * 3
    portable = Portable(model, tf.function(input_signature=spectrum)) if shared else Portable(model)

    def traceable(function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
        signature = [
            tf.TensorSpec([sizes.get(size) for size in entry["shape"]], entry["dtype"], name=name)
            for name, entry in inputs.items()
        ]
        return tf.function(function, input_signature=signature)

    return {name: traceable(getattr(portable, name), FUNCTIONS[name]["inputs"]) for name in names}


def _write_savedmodel(model: CINN, folder: Path) -> None:
    import tensorflow as tf

    functions = _traceable(model, ("sample", "summary", "log_prob"), shared=True)
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    for name, function in functions.items():
        setattr(module, name, function)
    tf.saved_model.save(module, str(folder), signatures=functions)


def _write_onnx(model: CINN, folder: Path) -> None:
    import onnx
    import tensorflow as tf
    from tf2onnx.convert import make_default_custom_op_handler, tensor_names_from_structed
    from tf2onnx.tf_loader import from_function
    from tf2onnx.tfonnx import process_tf_graph

    handlers: dict[str, Any] = {name: (make_default_custom_op_handler(DOMAIN), []) for name in ONNX_FUNCTIONS}
    # tf2onnx wires the loops of a function into its first caller, so nothing can be shared
    for name, function in _traceable(model, ("sample", "summary"), shared=False).items():
        concrete = function.get_concrete_function()
        inputs = [tensor.name for tensor in concrete.inputs if tensor.dtype != tf.resource]
        outputs = [tensor.name for tensor in concrete.outputs]
        frozen = from_function(concrete, inputs, outputs)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(frozen, name="")
            # tf2onnx.convert would optimise it for minutes; onnxruntime does so as it loads
            converted = process_tf_graph(
                graph,
                opset=OPSET,
                custom_op_handlers=handlers,
                input_names=inputs,
                output_names=outputs,
                tensors_to_rename=tensor_names_from_structed(concrete, inputs, outputs),
            ).make_model(name)
        add_functions(converted)
        onnx.save(converted, folder / f"{name}.onnx")
