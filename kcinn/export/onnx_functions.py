"""What ONNX or its converter lack, as functions that travel inside the model: Cholesky factor, substitution, log1p."""

from __future__ import annotations

from typing import Any

DOMAIN = "kcinn"
OPSET = 18
HEADER = f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}]>'
# Named after the operations of TensorFlow that they stand for. All of a batch (batch, row, column).
FUNCTIONS = {
    # column by column; the outer product of every one is taken off what is left
    "Cholesky": """
Cholesky (matrix) => (factor)
{
  shape = Shape (matrix)
  last = Constant <value_int = -1> ()
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  front = Constant <value_ints = [0]> ()
  middle = Constant <value_ints = [1]> ()
  back = Constant <value_ints = [2]> ()
  size = Gather (shape, last)
  rows = Range (zero, size, one)
  go = Equal (zero, zero)
  rest, columns = Loop <body = column_of (int64 k, bool going, float[b, n, n] rest_before)
    => (bool going_on, float[b, n, n] rest_after, float[b, n] column)
  {
    going_on = Identity (going)
    all = Gather <axis = 2> (rest_before, k)
    place = Unsqueeze (k, front)
    pivot = Gather <axis = 1> (all, place)
    root = Sqrt (pivot)
    below = GreaterOrEqual (rows, k)
    kept = Cast <to = 1> (below)
    scaled = Div (all, root)
    column = Mul (scaled, kept)
    standing = Unsqueeze (column, back)
    lying = Unsqueeze (column, middle)
    product = Mul (standing, lying)
    rest_after = Sub (rest_before, product)
  }> (size, go, matrix)
  factor = Transpose <perm = [1, 2, 0]> (columns)
}""",
    # from the first row on if lower, else from the last
    "MatrixTriangularSolve": """
MatrixTriangularSolve <lower> (matrix, right) => (solution)
{
  shape = Shape (matrix)
  last = Constant <value_int = -1> ()
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  front = Constant <value_ints = [0]> ()
  second = Constant <value_ints = [1]> ()
  is_lower_number = Constant <value_int : int = @lower> ()
  is_lower = Equal (is_lower_number, one)
  size = Gather (shape, last)
  end = Sub (size, one)
  rows = Range (zero, size, one)
  go = Equal (zero, zero)
  nothing = Sub (right, right)
  rest, solution = Loop <body = row_of (int64 step, bool going, float[b, n, m] rest_before, float[b, n, m] before)
    => (bool going_on, float[b, n, m] rest_after, float[b, n, m] after)
  {
    going_on = Identity (going)
    back = Sub (end, step)
    k = Where (is_lower, step, back)
    place = Unsqueeze (k, front)
    column = Gather <axis = 2> (matrix, place)
    pivot = Gather <axis = 1> (column, place)
    known = Gather <axis = 1> (rest_before, place)
    row = Div (known, pivot)
    product = MatMul (column, row)
    rest_after = Sub (rest_before, product)
    is_here = Equal (rows, k)
    here_flat = Cast <to = 1> (is_here)
    here = Unsqueeze (here_flat, second)
    placed = Mul (here, row)
    after = Add (before, placed)
  }> (size, go, right, nothing)
}""",
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
