"""Config: what the presets build."""

import numpy as np
import toy

from kcinn.config import Config
from kcinn.training import _new_model


def shapes(layer):
    return [tuple(weight.shape) for weight in layer.trainable_variables if len(weight.shape) == 2]


def test_the_published_architecture():
    grid = toy.grid(100).principal_components(24)
    model = _new_model(grid, list(toy.SPACE.names), toy.OBSERVATION, Config.paper(), seed=0)
    assert shapes(model.flow).count((512, 512)) == 8 * 2 * 2  # three hidden layers, two subnets, eight blocks
    assert model.flow.members[0].base.n_conditioned == 0  # a plain normal
    model.emulator.trainable = False
    assert shapes(model.encoder)[1:] == [(512, 512), (512, 512), (512, 256)]
    drawn = model.draw_encoded(
        np.zeros((2, 5, 3), "f4"),
        model.encode(
            *(
                array.astype("f4")
                for array in toy.observed(toy.SPACE.lower[None] + [[100.0, 0.1, 0.1], [900.0, 1.0, 0.2]], 100.0)
            )
        ),
    )
    assert np.all(toy.SPACE.contains(np.asarray(drawn["labels"])))
