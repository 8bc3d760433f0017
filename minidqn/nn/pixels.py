"""Images as a background and the positions that differ from it.

A frame of a game is almost empty: of the 100 pixels of the fruit's frame four are not 0.
`Pixels` keeps those only, and can be used wherever an array can.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from minidqn.nn.kernels import scan


class Pixels:
    """N images (C, H, W), or N vectors (D,), by what is not background.

    Image n has the value ``values[r]`` at the position ``positions[r]`` for r from
    ``first[n]`` to before ``last[n]``, and the background's everywhere else. It counts as
    an array: ``np.asarray(pixels)``, ``len``, ``shape``, ``pixels[0]`` and a loop over it
    give what an array of the images would.

    Parameters
    ----------
    sample : tuple of int
        (C, H, W) or (D,): the shape without N. A vector is an image of one position and
        D channels.
    first, last : ndarray [shape=(N,)], int32
        Where each image's rows begin and end.
    positions : ndarray [shape=(R,)], int32
        ``i * W + j`` for row i and column j, once for each image at most; not checked.
    values : ndarray [shape=(R * C,)], float32
        C finite numbers for each position.
    active : int, optional
        How many positions the images have together; counted by default.
    background : ndarray [shape=(C,)], optional
        What is added to the values, and stands where none are; 0 by default.

    Attributes
    ----------
    shape : tuple of int
        (N, C, H, W) or (N, D).

    Examples
    --------
    >>> frame = np.zeros((1, 1, 4, 4))
    >>> frame[0, 0, 2, 3] = 1
    >>> pixels = Pixels.of(frame)
    >>> pixels.positions, pixels.values
    (array([11], dtype=int32), array([1.], dtype=float32))
    >>> bool((np.asarray(pixels) == frame).all())
    True
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        sample: tuple[int, ...],
        first: np.ndarray,
        last: np.ndarray,
        positions: np.ndarray,
        values: np.ndarray,
        active: int | None = None,
        background: np.ndarray | None = None,
    ):
        self.shape = (len(first), *sample)
        rows = (np.ascontiguousarray(array, np.int32) for array in (first, last, positions))
        self.first, self.last, self.positions = rows  # kernels take one kind of array
        self.values = np.ascontiguousarray(values, np.float32)
        self.active = int(np.add.reduce(last - first)) if active is None else active
        self.background = background

    @classmethod
    def of(cls, images: "np.ndarray | Pixels", onto: "Pixels | None" = None) -> "Pixels":
        """The pixels of images that are not 0.

        Parameters
        ----------
        images : ndarray or Pixels [shape=(N, C, H, W) or (N, D)]
            Numbers; they are rounded to float32.
        onto : Pixels, optional
            Written over with these images, if it has their shape and room for every position.

        Returns
        -------
        Pixels
            The same images, without a background: `images` itself, `onto` or new ones.

        Raises
        ------
        ValueError
            If a number is not finite.
        """
        if isinstance(images, cls) and images.background is None:
            return images
        images = np.asarray(images)
        if images.dtype != np.float32:
            with np.errstate(over="ignore"):  # what overflows is not finite
                images = images.astype(np.float32)
        flat = images.ravel()
        if not flat.flags.behaved:  # kernels are compiled for one kind of array
            flat = flat.copy()
        count, channels = images.shape[:2]
        if onto is None or onto.shape != images.shape or len(onto.values) < flat.size:
            positions, values = np.empty(flat.size // channels, np.int32), np.empty_like(flat)
            first, last = np.empty((2, count), np.int32)
            room = cls(images.shape[1:], first, last, positions, values, 0)
        else:
            room = onto
        rows = room.first, room.last, room.positions
        room.active = scan(flat, channels, *rows, 1, room.values, channels)
        if room.active < 0:
            raise ValueError("states holds NaN or infinity; expected finite numbers")
        if room is not onto:
            room.positions = positions[: room.active]
            room.values = values[: room.active * channels]
        return room

    @classmethod
    def join(cls, one: "np.ndarray | Pixels", other: "np.ndarray | Pixels") -> "Pixels":
        """The images of `one` and then those of `other`, of one shape; arrays or `Pixels`."""
        one, other = cls.of(one), cls.of(other)
        shift, positions, values = 0, one.positions, one.values
        if other.values is not values or other.positions is not positions:
            shift, positions = len(positions), np.concatenate([positions, other.positions])
            values = np.concatenate([values, other.values])
        first = np.concatenate([one.first, other.first + shift], dtype=np.int32)
        last = np.concatenate([one.last, other.last + shift], dtype=np.int32)
        return cls(one.shape[1:], first, last, positions, values, one.active + other.active)

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, index: Any) -> Any:
        """One image as an array for an int; `Pixels` for a slice, a mask or a list of places."""
        first, last = self.first[index], self.last[index]
        if first.ndim == 0:
            return np.asarray(self[[index]])[0]
        rows = first, last, self.positions, self.values
        return Pixels(self.shape[1:], *rows, background=self.background)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array of Pixels is always a copy")
        count, channels = self.shape[:2]
        counts = self.last - self.first
        rows = np.arange(self.active) + np.repeat(self.last - np.cumsum(counts), counts)
        images = np.zeros((count, int(np.prod(self.shape[2:], dtype=int)), channels), np.float32)
        values = self.values.reshape(-1, channels)[rows]
        images[np.repeat(np.arange(count), counts), self.positions[rows]] = values
        if self.background is not None:
            images += self.background
        images = np.ascontiguousarray(images.transpose(0, 2, 1)).reshape(self.shape)
        return images if dtype is None else images.astype(dtype, copy=False)
