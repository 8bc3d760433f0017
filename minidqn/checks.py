"""Arguments that are what they should be, or one line that says what they are."""

import functools
import numbers
import operator
from typing import Any

import numpy as np
import numpy.typing as npt


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A whole number of at least `least`.

    Parameters
    ----------
    name : str
        What it is called, for the message.
    value : object
        What it should be.
    least : int
        The smallest that is allowed.
    most : int, optional
        The largest that is allowed; any by default.

    Returns
    -------
    int
        `value`.

    Raises
    ------
    TypeError
        If it is not a whole number.
    ValueError
        If it is below `least` or above `most`.
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = None
    if count is None or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; expected a whole number")
    if count < least:
        raise ValueError(f"{name} is {value}; expected at least {least}")
    if most is not None and count > most:
        raise ValueError(f"{name} is {value}; expected at most {most}")
    return count


def number(name: str, value: Any, inside: str) -> float:
    """A real number inside an interval.

    Parameters
    ----------
    name : str
        What it is called, for the message.
    value : object
        What it should be.
    inside : str
        The interval: "[0, 1]", "[0, 1)" or "(0, inf)".

    Returns
    -------
    float
        `value`.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is outside the interval, or NaN.
    """
    kinds = float, int, numbers.Real, np.number  # the first two are looked at fastest
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{name} is {value!r}; expected a number in {inside}")
    low, high, outside = _bounds(inside)
    if not low <= value <= high or value in outside:
        raise ValueError(f"{name} is {value}; expected a number in {inside}")
    return float(value)


@functools.cache
def _bounds(inside):
    """Both ends of an interval, and those of them that are outside it."""
    low, high = map(float, inside[1:-1].split(", "))
    return low, high, [low] * (inside[0] == "(") + [high] * (inside[-1] == ")")


def generator(rng: np.random.Generator | None) -> np.random.Generator:
    """A random generator: `rng` itself, or one with fresh entropy if it is None.

    Parameters
    ----------
    rng : numpy.random.Generator or None
        What it should be.

    Returns
    -------
    numpy.random.Generator
        Where to draw from.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if rng is None:
        return np.random.default_rng()
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is {rng!r}; expected a numpy.random.Generator or None")
    return rng


def numeric(name: str, array: npt.ArrayLike) -> np.ndarray:
    """An array of numbers.

    Parameters
    ----------
    name : str
        What it is called, for the message.
    array : array_like
        What it should be.

    Returns
    -------
    ndarray
        `array`, not copied if it is one.

    Raises
    ------
    TypeError
        If it does not hold numbers.
    ValueError
        If it is ragged.
    """
    try:
        array = np.asarray(array)
    except ValueError:
        raise ValueError(f"{name} is ragged; expected an array of one shape") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}; expected numbers")
    return array


def finite(name: str, array: npt.ArrayLike) -> None:
    """Refuse an array that holds NaN or infinity.

    Parameters
    ----------
    name : str
        What it is called, for the message.
    array : ndarray, float
        What it should be.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; expected finite numbers")


def one_line(text: object, most: int = 1000) -> str:
    """Words for an error message, which may quote a file that nobody vouches for.

    Parameters
    ----------
    text : object
        What str makes the words of.
    most : int
        Characters that are kept.

    Returns
    -------
    str
        One line of printable characters; others, which could steer a terminal, are
        escaped.
    """
    words = " ".join(str(text).split())
    words = "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)
    return words if len(words) <= most else f"{words[:most]} ..."
