"""The arrays of the convolutional networks in `conv_network.py`, and the layers that `forward.py` takes."""

from __future__ import annotations

from .layers import Arrays, Layer, Shapes, convolution, convolution_shapes, linear, linear_shapes


def quartered(rows: int) -> int:
    """How many rows are left once they have been halved twice, rounding up.

    >>> [quartered(rows) for rows in (1, 4, 5, 60)]
    [1, 1, 2, 15]
    """
    return (rows + 3) // 4


def halving_shapes(channels: int, filters: int) -> Shapes:
    return convolution_shapes("halve.first", channels, filters) | convolution_shapes(
        "halve.second", filters, filters
    )


def halving_layers(arrays: Arrays) -> tuple[Layer, Layer]:
    return convolution(arrays, "halve.first"), convolution(arrays, "halve.second")


def autoencoder_shapes(window: int, channels: int, filters: int, latent: int) -> Shapes:
    features = quartered(window) * filters
    return (
        halving_shapes(channels, filters)
        | linear_shapes("latent", features, latent)
        | linear_shapes("back", latent, features)
        | convolution_shapes("coarse", filters, filters)
        | convolution_shapes("output", filters, channels)
    )


def autoencoder_layers(arrays: Arrays) -> tuple[Layer, ...]:
    return (
        *halving_layers(arrays),
        linear(arrays, "latent"),
        linear(arrays, "back"),
        convolution(arrays, "coarse"),
        convolution(arrays, "output"),
    )
