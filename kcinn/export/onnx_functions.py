"""What ONNX or its converter lack, as functions that travel inside the model."""

from __future__ import annotations

from typing import Any

DOMAIN = "kcinn"
OPSET = 18
HEADER = f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}]>'
# Named after the operations of TensorFlow that they stand for.
FUNCTIONS = {
    # log(1 + x) x / ((1 + x) - 1), in which the rounding of 1 + x cancels (Kahan)
    "Log1p": """
Log1p (x) => (y)
{
  one = Constant <value_float = 1.0> ()
  zero = Constant <value_float = 0.0> ()
  total = Add (x, one)
  rounded = Sub (total, one)
  is_tiny = Equal (rounded, zero)
  logarithm = Log (total)
  quotient = Div (logarithm, rounded)
  product = Mul (x, quotient)
  y = Where (is_tiny, x, product)
}""",
    # tf2onnx would multiply by 0 and 1, and what is not a number would get through
    "SelectV2": """
SelectV2 (condition, a, b) => (chosen)
{
  chosen = Where (condition, a, b)
}""",
    # Keras' argmin and argmax look at the bits of zeros only, for negative ones; to them a cast is as good
    "Bitcast": """
Bitcast (x) => (y)
{
  y = Cast <to = 6> (x)
}""",
}


def add_functions(model: Any) -> None:
    """Add the functions to an ONNX model whose nodes use them."""
    import onnx

    model.ir_version = max(model.ir_version, 8)
    for text in FUNCTIONS.values():
        model.functions.append(onnx.parser.parse_function(HEADER + text))
    if DOMAIN not in [entry.domain for entry in model.opset_import]:
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    onnx.checker.check_model(model)
