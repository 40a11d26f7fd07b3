"""What ONNX lacks: factorisation and substitution of small matrices, written out by columns, and log1p."""

from __future__ import annotations

from typing import Any

import numpy as np

END = 2**31 - 1


class _Nodes:
    """Makes ONNX nodes in the graph that tf2onnx builds; every tensor has the axes (batch, row, column).

    Parameters
    ----------
    graph : tf2onnx.graph.Graph
    """

    def __init__(self, graph: Any) -> None:
        from tf2onnx.graph_builder import GraphBuilder

        self.graph, self._builder = graph, GraphBuilder(graph)

    def __call__(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.graph.make_node(kind, list(inputs), attr=attributes).output[0]

    def part(self, tensor: str, rows: tuple[int, int], columns: tuple[int, int] = (0, END)) -> str:
        """``tensor[:, rows, columns]``."""
        (first, last), (left, right) = rows, columns
        return self._builder.make_slice(
            {"data": tensor, "starts": [first, left], "ends": [last, right], "axes": [1, 2]}
        )

    def join(self, tensors: list[str], axis: int, node: Any) -> None:
        """Put tensors side by side in the place of `node`."""
        shapes, types = node.output_shapes, node.output_dtypes
        self.graph.remove_node(node.name)
        self.graph.make_node(
            "Concat", tensors, attr={"axis": axis}, name=node.name, outputs=node.output, shapes=shapes, dtypes=types
        )


def cholesky(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """Lower factor of symmetric positive definite matrices: every column in turn, and its outer product taken off."""
    nodes, size = _Nodes(graph), graph.get_shape(node.input[0])[-1]
    rest, columns = node.input[0], []
    for k in range(size):
        column = nodes.part(rest, (0, END), (0, 1))
        column = nodes("Div", column, nodes("Sqrt", nodes.part(column, (0, 1))))
        zeros = np.array([0, k, 0, 0, 0, 0], dtype=np.int64)  # above it
        columns.append(nodes("Pad", column, graph.make_const(f"{node.name}_zeros_{k}", zeros).output[0]))
        if k + 1 < size:
            column = nodes.part(column, (1, END))
            product = nodes("MatMul", column, nodes("Transpose", column, perm=[0, 2, 1]))
            rest = nodes("Sub", nodes.part(rest, (1, END), (1, END)), product)
    nodes.join(columns, 2, node)


def triangular_solve(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """``x`` of ``matrix x = right`` for triangular matrices, by forward or backward substitution."""
    nodes, size = _Nodes(graph), graph.get_shape(node.input[0])[-1]
    matrix, right = node.input
    lower = bool(node.get_attr_value("lower", 1))
    if node.get_attr_value("adjoint", 0):
        raise NotImplementedError("The adjoint of a triangular matrix")
    solution: list[str] = []
    for k in range(size) if lower else reversed(range(size)):
        pivot = nodes.part(matrix, (k, k + 1), (k, k + 1))
        row = nodes("Div", nodes.part(right, (0, 1) if lower else (k, k + 1)), pivot)
        others = (k + 1, END) if lower else (0, k)
        if len(solution) + 1 < size:
            left = nodes.part(right, (1, END) if lower else (0, k))
            right = nodes("Sub", left, nodes("MatMul", nodes.part(matrix, others, (k, k + 1)), row))
        solution.append(row)
    nodes.join(solution if lower else solution[::-1], 1, node)


def log1p(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """``log(1 + x) x / ((1 + x) - 1)``, in which the rounding of ``1 + x`` cancels (Kahan)."""
    nodes, x, shape = _Nodes(graph), node.input[0], node.output_shapes
    one = graph.make_const(f"{node.name}_one", np.float32(1.0)).output[0]
    zero = graph.make_const(f"{node.name}_zero", np.float32(0.0)).output[0]
    total = nodes("Add", x, one)
    rounded = nodes("Sub", total, one)
    quotient = nodes("Div", nodes("Log", total), rounded)
    inputs = [nodes("Equal", rounded, zero), x, nodes("Mul", x, quotient)]
    types, outputs = node.output_dtypes, node.output
    graph.remove_node(node.name)
    graph.make_node("Where", inputs, name=node.name, outputs=outputs, shapes=shape, dtypes=types)


def bitcast(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """A cast: Keras' argmin and argmax look at the bits of zeros only, to find negative ones, which are zero here."""
    kinds, shapes, outputs = node.output_dtypes, node.output_shapes, node.output
    graph.remove_node(node.name)
    to = {"to": kinds[0]}
    graph.make_node("Cast", node.input, attr=to, name=node.name, outputs=outputs, shapes=shapes, dtypes=kinds)


HANDLERS = {
    "Bitcast": (bitcast, []),
    "Cholesky": (cholesky, []),
    "Log1p": (log1p, []),
    "MatrixTriangularSolve": (triangular_solve, []),
}
