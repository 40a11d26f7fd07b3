"""Values and derivatives by the active backend's own means, the independent truth of the contract tests.

On JAX everything is jitted whole: operation by operation it would compile hundreds of small programs.
"""

import keras
import numpy as np

BACKEND = keras.backend.backend()


def evaluate(function, *arrays):
    """``function(*arrays)`` with its tensors as NumPy arrays."""
    if BACKEND == "jax":
        import jax

        function = jax.jit(function)
    outputs = function(*(keras.ops.convert_to_tensor(array) for array in arrays))
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def gradients(function, *arrays):
    """Gradients of the sum of ``function(*arrays)`` with respect to each array, as NumPy arrays."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            for tensor in tensors:
                tape.watch(tensor)
            total = tf.reduce_sum(function(*tensors))
        found = tape.gradient(total, tensors, unconnected_gradients="zero")
    elif BACKEND == "jax":
        import jax

        gradient = jax.grad(lambda *tensors: function(*tensors).sum(), argnums=tuple(range(len(arrays))))
        found = jax.jit(gradient)(*arrays)
    else:
        import torch

        tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
        found = torch.autograd.grad(function(*tensors).sum(), tensors, allow_unused=True, materialize_grads=True)
    return [keras.ops.convert_to_numpy(item) for item in found]


def log_abs_det_jacobian(function, theta):
    """``log |det d function / d theta|`` of each row of `theta`, where `function` treats the rows apart."""
    n, n_labels = theta.shape
    if BACKEND == "jax":
        import jax

        directions = np.repeat(np.eye(n_labels, dtype="float32")[:, None], n, axis=1)
        rows = np.asarray(jax.jit(lambda values: jax.vmap(jax.vjp(function, values)[1])(directions)[0])(theta))
    else:
        rows = np.stack([gradients(lambda values, k=k: function(values)[..., k], theta)[0] for k in range(n_labels)])
    return np.linalg.slogdet(np.moveaxis(rows, 0, -2).astype(np.float64))[1]
