"""Muon on a stack of kernels against Keras' own on each of them."""

import keras
import numpy as np

from kcinn.optimisation import Muon


def stepped(optimizer, start, gradients):
    """A variable after steps along these gradients."""
    variable = keras.Variable(start)
    for gradient in gradients:
        optimizer.apply_gradients([(keras.ops.convert_to_tensor(gradient), variable)])
    return keras.ops.convert_to_numpy(variable)


def test_a_stack_of_kernels_takes_the_steps_of_each():
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(3, 6, 4)).astype("f4"), rng.normal(size=(5, 3, 6, 4)).astype("f4")
    together = stepped(Muon(0.01), start, gradients)
    for k in range(3):
        alone = stepped(keras.optimizers.Muon(0.01, weight_decay=None), start[k], gradients[:, k])
        np.testing.assert_allclose(together[k], alone, rtol=0, atol=1e-5)
    assert np.abs(together - start).max() > 0.01


def test_biases_take_the_steps_of_adam():
    rng = np.random.default_rng(1)
    for shape in ((4,), (3, 1, 4)):
        start, gradients = rng.normal(size=shape).astype("f4"), rng.normal(size=(5, *shape)).astype("f4")
        expected = stepped(keras.optimizers.Adam(0.01), start, gradients)
        np.testing.assert_allclose(stepped(Muon(0.01), start, gradients), expected, rtol=0, atol=1e-5)
