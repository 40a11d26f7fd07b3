"""Compiled: a function of tensors and a model's weights, compiled for the active backend, called on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Lock
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from kcinn.devices import on_accelerator

MANY = 2e7  # values of a graph's input
AT_ONCE = 2  # calls of compiled functions
IN_CACHE = 8192  # samples whose hidden layers a core's cache holds


class Compiled:
    """Compile `function` once per set of input shapes and call it on NumPy arrays.

    ``tf.function(jit_compile=True)`` on TensorFlow, ``jax.jit`` on JAX, ``torch.inference_mode`` on torch. Weights are
    read at every call, so later training is seen.

    Parameters
    ----------
    function : callable
        Takes and returns tensors, or nested dicts, lists and tuples of them; uses ``keras.ops`` and weights of `model`.
    model : keras.layers.Layer
        The layer or model whose weights `function` uses; already built.
    """

    def __init__(self, function: Callable[..., Any], model: keras.layers.Layer) -> None:
        self.model = model
        self._known: set[tuple[Any, ...]] = set()
        self._compiling = Lock()
        backend = keras.backend.backend()
        if backend == "tensorflow":
            import tensorflow as tf

            self._run = tf.function(function, jit_compile=True)
        elif backend == "jax":
            self._run = _jitted_for_jax(function, model)
        else:
            self._run = _without_gradients_on_torch(function)

    def __call__(self, *arrays: Any) -> Any:
        """Run on arrays of any shape; a shape that is new compiles anew."""
        tensors = tree.map_structure(ops.convert_to_tensor, arrays)
        shapes = tuple(tuple(tensor.shape) for tensor in tree.flatten(tensors))
        with nullcontext() if shapes in self._known else self._compiling:  # threads must not compile the same twice
            made = self._run(*tensors)
        self._known.add(shapes)
        return tree.map_structure(ops.convert_to_numpy, made)

    def in_chunks(self, size: int, *arrays: Any) -> Any:
        """Run on chunks of `size` rows of every array, so that one shape serves any number of rows.

        Parameters
        ----------
        size : int
            Rows per call; the last chunk is filled up with its last row, and what comes of that is cut off.
        *arrays
            Arrays, or nested dicts, lists and tuples of them, all with the same first axis, which must not be empty.

        Returns
        -------
        As `function` returns, joined along the first axis.
        """
        n_rows = len(tree.flatten(arrays)[0])

        def piece(start: int) -> Any:
            rows = np.minimum(np.arange(start, start + size), n_rows - 1)
            made = self(*tree.map_structure(lambda array: array[rows], arrays))
            return tree.map_structure(lambda array: array[: n_rows - start], made)

        pieces = side_by_side(piece, range(0, n_rows, size))
        return tree.map_structure(lambda *parts: np.concatenate(parts), *pieces)


def side_by_side(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """What `function`, which calls compiled ones, makes of every item, in their order.

    Two threads share the items: parts of a compiled function keep a single core busy, and those of another call fill
    the rest of the machine. A single item stays in the thread of the caller, and so do all on JAX, where two threads
    in compiled calls have waited for each other for ever, and on torch, which compiles nothing.

    Parameters
    ----------
    function : callable
        Safe to be called from several threads.
    items : sequence

    Returns
    -------
    list
    """
    if len(items) == 1 or keras.backend.backend() != "tensorflow":
        return [function(item) for item in items]
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or an interruption nothing more is begun


def _jitted_for_jax(function: Callable[..., Any], model: keras.layers.Layer) -> Callable[..., Any]:
    import jax

    @jax.jit
    def pure(weights: list[Any], tensors: tuple[Any, ...]) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(model.variables, weights, strict=True))):
            return function(*tensors)

    def on_one_device(array: Any) -> Any:
        """What every device of a `keras.distribution` holds, on the first of them."""
        return array if len(array.devices()) == 1 else array.addressable_data(0)

    return lambda *tensors: pure([on_one_device(variable.value) for variable in model.variables], tensors)


def _without_gradients_on_torch(function: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    return torch.inference_mode()(function)


def jit_pays(n_values: int, *, draws: bool = False) -> bool:
    """Whether a long graph that is to work on this many values, rows times pixels, should be compiled just in time.

    On JAX it must. XLA for TensorFlow takes ten seconds longer than the plain graph, and is then a third faster; but
    on a CPU it draws random numbers thirty times slower, so a graph that does (`draws`) is better left plain.
    """
    backend = keras.backend.backend()
    pays = n_values > MANY and (not draws or on_accelerator())
    return backend == "jax" or (backend == "tensorflow" and pays)


def rows_in_cache(n_samples: int, at_most: int) -> int:
    """Rows of `n_samples` samples that a flow should be given at a time.

    On a CPU, what passes between its layers then stays in the cache.
    """
    return at_most if on_accelerator() else max(1, min(at_most, IN_CACHE // n_samples))
