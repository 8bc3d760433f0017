"""Tiles of float32 numbers that stay in registers: the one inner loop of the hot path.

A processor multiplies and adds a whole vector of numbers with one instruction,
but only numbers that are in its registers already. A *tile* is a block of
results, ``rows x columns`` pixels of ``vectors`` vectors each, that is kept in
registers while everything that belongs to it is added up; memory is read once
for several multiplications, and written once at the end.

Each function here is an instruction or a few, spelled for Numba. Numba calls
them intrinsics: they are replaced by code as the function that uses them is
compiled. Every one is also plain Python, which says what it computes, and which
runs under ``NUMBA_DISABLE_JIT=1`` and in the tests. An array argument is
C-contiguous float32 and comes with an index, a tuple of ints, of the number to
begin at; steps from there are counted in numbers. Nothing is checked: the
wrappers in ``kernels`` see to it that every index is inside.

A processor's vectors have 16 float32 lanes (AVX-512), 8 (AVX2) or 4 (SSE,
NEON), and it has 32 or 16 registers for them. `LANES` and `REGISTERS` say what
this one has; on another one LLVM cuts or joins the vectors, and the results are
right, if slower.

References
----------
Goto & van de Geijn (2008), *Anatomy of high-performance matrix multiplication*.
https://llvm.org/docs/LangRef.html (vectors, ``llvm.fmuladd``).
"""

import dataclasses
import functools
import hashlib
import inspect
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.imputils import lower_constant, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    register_model,
    typeof_impl,
    unbox,
)

__all__ = [
    "LANES",
    "REGISTERS",
    "Tile",
    "add",
    "correlate",
    "fill",
    "load",
    "relu",
    "scatter",
    "store",
    "transpose",
    "zeros",
]


def _host():
    """Lanes and registers of the processor that Numba compiles for."""
    features = config.CPU_FEATURES
    if features is None:
        features = llvm.get_host_cpu_features().flatten()
    if "+avx512f" in features:
        return 16, 32
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):
        return 4, 32
    return (8, 16) if "+avx2" in features else (4, 16)


LANES, REGISTERS = _host()
"""Float32 numbers in a vector, and vectors that the processor can hold."""


def _source():
    """A short digest of the files that write instructions, for `Tile`."""
    files = [Path(__file__).with_name(name) for name in ("simd.py", "programs.py")]
    try:
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    except OSError:  # installed without its source, so nobody edits it
        return ""


@dataclasses.dataclass(frozen=True)
class Tile:
    """The shape of a tile, known when the code that uses it is compiled.

    Attributes
    ----------
    rows, columns : int
        Pixels of results.
    vectors : int
        Vectors of results in each pixel.
    tail : int
        Results in the last of them, at most `LANES`; the other vectors are full.
    taps : int
        Neighbouring places of a kernel's row that are used in one go.
    stride : int
        Numbers from one input pixel to the next.
    lanes : int
        `LANES`, and
    source : str
        a digest of the intrinsics: Numba looks up compiled code on disk by the types
        of its arguments, so code that was compiled for other vectors or from
        other intrinsics is not found.
    """

    rows: int = 1
    columns: int = 1
    vectors: int = 1
    taps: int = 1
    stride: int = 1
    tail: int = LANES
    lanes: int = LANES
    source: str = _source()

    @property
    def size(self):
        """Vectors in the tile."""
        return self.rows * self.columns * self.vectors

    @property
    def width(self):
        """Results in a pixel."""
        return (self.vectors - 1) * self.lanes + self.tail

    @property
    def column(self):
        """The tile of one column."""
        return dataclasses.replace(self, columns=1)

    @property
    def pixel(self):
        """The tile of one pixel."""
        return self.column.single

    @property
    def single(self):
        """The tile of one row."""
        return dataclasses.replace(self, rows=1)

    @property
    def full(self):
        """The tile whose last vector is full too."""
        return dataclasses.replace(self, tail=self.lanes)

    @property
    def spread(self):
        """The tile that `scatter` adds to: wider by the taps."""
        return dataclasses.replace(self, columns=self.columns + self.taps - 1, taps=1)


class TileType(types.Type):
    """Numba's type of a Tile; its numbers are part of the type."""

    def __init__(self, tile):
        self.tile = tile
        super().__init__(name=repr(dataclasses.astuple(tile)))


class _ValuesType(types.Type):
    """Numba's type of a tile's contents: `size` vectors."""

    def __init__(self, size):
        self.size = size
        super().__init__(name=f"{size} vectors of {LANES} float32")


register_model(TileType)(models.OpaqueModel)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_ZERO = ir.Constant(_VECTOR, [0.0] * LANES)
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)


@register_model(_ValuesType)
class _ValuesModel(models.PrimitiveModel):
    def __init__(self, manager, values):
        super().__init__(manager, values, ir.ArrayType(_VECTOR, values.size))


@typeof_impl.register(Tile)
def _typeof_tile(tile, context):
    return TileType(tile)


@lower_constant(TileType)
def _constant_tile(context, builder, kind, value):
    return context.get_dummy_value()


@unbox(TileType)
def _unboxed_tile(kind, value, c):
    return NativeValue(c.context.get_dummy_value())


@infer_getattr
class _TileAttributes(AttributeTemplate):
    """In compiled code a tile's attributes are constants: tiles again, or numbers."""

    key = TileType

    def generic_resolve(self, tile, name):
        value = getattr(tile.tile, name)
        return TileType(value) if isinstance(value, Tile) else types.intp


@lower_getattr_generic(TileType)
def _tile_attribute(context, builder, kind, value, name):
    value = getattr(kind.tile, name)
    return context.get_dummy_value() if isinstance(value, Tile) else _INT64(value)


class _Emitter:
    """Writes LLVM instructions for one call of an intrinsic.

    ``kinds`` are Numba's types of the arguments, ``values`` their LLVM values.
    """

    def __init__(self, context, builder, signature, values):
        self.context, self.builder = context, builder
        self.kinds, self.values = signature.args, values

    def address(self, array, index):
        """Address of the number that the arguments at these places say."""
        kind = self.kinds[array]
        struct = self.context.make_array(kind)(self.context, self.builder, self.values[array])
        indices = cgutils.unpack_tuple(self.builder, self.values[index])
        return cgutils.get_item_pointer(
            self.context, self.builder, kind, struct, indices, wraparound=False
        )

    def step(self, address, count, stride=None):
        """The address `count` strides further; a stride is a number or an LLVM value."""
        if count == 0:
            return address
        if stride is None:
            return self.builder.gep(address, [_INT64(count)])
        return self.builder.gep(address, [self.builder.mul(stride, _INT64(count))])

    def load(self, address, lanes=LANES):
        """A vector from memory; beyond its first `lanes` it is zero, and nothing is read."""
        kind = ir.VectorType(ir.FloatType(), lanes)
        vector = self.builder.load(self.builder.bitcast(address, kind.as_pointer()), align=4)
        if lanes == LANES:
            return vector
        places = [min(lane, lanes) for lane in range(LANES)]  # place `lanes` is the first zero
        return self.chosen(vector, ir.Constant(kind, [0.0] * lanes), places)

    def store(self, vector, address, lanes=LANES):
        """The first `lanes` numbers of a vector to memory."""
        if lanes < LANES:
            vector = self.chosen(vector, _ZERO, range(lanes))
        self.builder.store(vector, self.builder.bitcast(address, vector.type.as_pointer()), align=4)

    def chosen(self, a, b, places):
        """A vector of numbers of a and b, which are counted through."""
        kind = ir.VectorType(_INT32, len(places))
        return self.builder.shuffle_vector(a, b, ir.Constant(kind, list(places)))

    def broadcast(self, address):
        """A vector of one number of memory in every lane."""
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = self.builder.insert_element(undefined, self.builder.load(address), _INT32(0))
        return self.chosen(first, undefined, [0] * LANES)

    def multiply_add(self, a, b, c):
        """a * b + c, rounded once where the processor can."""
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        name = f"llvm.fmuladd.v{LANES}f32"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [a, b, c])

    def unpack(self, values):
        return [self.builder.extract_value(values, k) for k in range(values.type.count)]

    def pack(self, vectors):
        values = ir.Constant(ir.ArrayType(_VECTOR, len(vectors)), ir.Undefined)
        for place, vector in enumerate(vectors):
            values = self.builder.insert_value(values, vector, place)
        return values

    def pixel(self, tile, address):
        """Address and lanes of every vector of a pixel."""
        for vector in range(tile.vectors):
            lanes = tile.tail if vector == tile.vectors - 1 else LANES
            yield self.step(address, vector * LANES), lanes

    def pixels(self, tile, address, row_step, column_step):
        """Address and lanes of every vector of a tile, in the order of its contents."""
        for row in range(tile.rows):
            for column in range(tile.columns):
                pixel = self.step(self.step(address, row, row_step), column, column_step)
                yield from self.pixel(tile, pixel)


def _primitive(kinds, emit, result=None):
    """Make an intrinsic of a plain function, which stays its definition.

    Parameters
    ----------
    kinds : str
        A letter for each argument: "T" a Tile, "V" a tile's contents, "A" an
        array, "I" an index, "N" a number of steps.
    emit : callable
        Given an `_Emitter` and the Tile, writes the code and returns its value.
    result : callable, optional
        Given the Tile, returns how many vectors the result has; by default
        there is no result.
    """

    def decorate(function):
        if config.DISABLE_JIT:
            return function
        parameters = list(inspect.signature(function).parameters.values())

        @functools.wraps(function)
        def typed(context, *arguments):
            tile = arguments[kinds.index("T")].tile
            wanted = [_wanted(kind, have) for kind, have in zip(kinds, arguments, strict=True)]
            returned = types.void if result is None else _ValuesType(result(tile))

            def generate(context, builder, signature, values):
                value = emit(_Emitter(context, builder, signature, values), tile)
                return context.get_dummy_value() if result is None else value

            return returned(*wanted), generate

        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        typed.__signature__ = inspect.Signature([context, *parameters])
        return intrinsic(typed)

    return decorate


def _wanted(kind, have):
    """Numba's type for an argument of a kind: indices and steps become machine words."""
    if kind == "I":
        return types.UniTuple(types.intp, len(have))
    return types.intp if kind == "N" else have


def _size(tile):
    return tile.size


def _spread_size(tile):
    return tile.spread.size


def _pixel_offsets(tile, array, index, row_step, column_step):
    """For the definitions: where each pixel of a tile is in the flattened array."""
    first = np.dot(index, np.array(array.strides) // array.itemsize)
    rows, columns = np.ogrid[: tile.rows, : tile.columns]
    return first + rows * row_step + columns * column_step


def _whole(tile, numbers):
    """For the definitions: numbers of a pixel, and zeros up to whole vectors."""
    return np.append(numbers, np.zeros(tile.full.width - len(numbers), np.float32))


def _emit_zeros(emit, tile):
    return emit.pack([_ZERO] * tile.size)


@_primitive("T", _emit_zeros, _size)
def zeros(tile):
    """Zeros: one ``vxorps`` a vector.

    Returns
    -------
    values [shape=(rows, columns, vectors * lanes)]
        As always, whole vectors: what is beyond ``width`` is neither read from memory
        nor written to it.
    """
    return np.zeros((tile.rows, tile.columns, tile.full.width), np.float32)


def _emit_fill(emit, tile):
    pixel = [emit.load(*place) for place in emit.pixel(tile, emit.address(1, 2))]
    return emit.pack(pixel * (tile.rows * tile.columns))


@_primitive("TAI", _emit_fill, _size)
def fill(tile, array, index):
    """The same ``width`` numbers for every pixel: ``vmovups`` from memory, then copies.

    ``values[r, c, :] = array[index : + width]``
    """
    first = _pixel_offsets(tile, array, index, 0, 0)[0, 0]
    pixel = _whole(tile, array.reshape(-1)[first : first + tile.width])
    return np.tile(pixel, (tile.rows, tile.columns, 1))


def _emit_load(emit, tile):
    places = emit.pixels(tile, emit.address(1, 2), emit.values[3], emit.values[4])
    return emit.pack([emit.load(*place) for place in places])


@_primitive("TAINN", _emit_load, _size)
def load(tile, array, index, row_step, column_step):
    """A tile from memory: one ``vmovups`` a vector.

    ``values[r, c, :] = array[index + r*row_step + c*column_step : + width]``
    """
    offsets = _pixel_offsets(tile, array, index, row_step, column_step)
    flat = array.reshape(-1)
    return np.array([[_whole(tile, flat[o : o + tile.width]) for o in row] for row in offsets])


def _emit_store(emit, tile):
    places = emit.pixels(tile, emit.address(2, 3), emit.values[4], emit.values[5])
    for vector, place in zip(emit.unpack(emit.values[0]), places, strict=True):
        emit.store(vector, *place)


@_primitive("VTAINN", _emit_store)
def store(values, tile, array, index, row_step, column_step):
    """A tile to memory: one ``vmovups`` a vector.

    ``array[index + r*row_step + c*column_step : + width] = values[r, c, :]``
    """
    offsets = _pixel_offsets(tile, array, index, row_step, column_step)
    flat = array.reshape(-1)
    for r, c in np.ndindex(offsets.shape):
        flat[offsets[r, c] : offsets[r, c] + tile.width] = values[r, c, : tile.width]


def _emit_transpose(emit, tile):
    first, target = emit.address(1, 2), emit.address(4, 5)
    rows = [emit.load(emit.step(first, r, emit.values[3]), tile.tail) for r in range(LANES)]
    # Eklundh (1972): exchange the off-diagonal halves, then quarters of halves, and so on.
    lanes, half = range(LANES), LANES // 2
    while half:
        upper = [lane + LANES - half if lane & half else lane for lane in lanes]
        lower = [lane + LANES if lane & half else lane + half for lane in lanes]
        for r in lanes:
            if not r & half:
                a, b = rows[r], rows[r + half]
                rows[r], rows[r + half] = emit.chosen(a, b, upper), emit.chosen(a, b, lower)
        half //= 2
    for column in range(tile.tail):
        emit.store(rows[column], emit.step(target, column, emit.values[6]))


@_primitive("TAINAIN", _emit_transpose)
def transpose(tile, source, i, row_step, target, k, column_step):
    """Copy `LANES` rows of ``tile.tail`` numbers, and make columns of them.

    ``target[k + c*column_step + r] = source[i + r*row_step + c]``

    One ``vmovups`` a row and a column, and between them ``vpermt2ps`` and its like.
    """
    rows = _pixel_offsets(Tile(rows=LANES), source, i, row_step, 0)
    columns = _pixel_offsets(Tile(rows=tile.tail), target, k, column_step, 0)
    places = columns + np.arange(LANES)
    target.reshape(-1)[places] = source.reshape(-1)[rows + np.arange(tile.tail)].T


def _emit_add(emit, tile):
    pixel = [emit.load(*place) for place in emit.pixel(tile, emit.address(2, 3))]
    pairs = zip(emit.unpack(emit.values[0]), pixel * (tile.rows * tile.columns), strict=True)
    return emit.pack([emit.builder.fadd(*pair) for pair in pairs])


@_primitive("VTAI", _emit_add, _size)
def add(values, tile, array, index):
    """Add the same ``width`` numbers to every pixel: one ``vaddps`` a vector.

    ``values[r, c, :] + array[index : + width]``
    """
    return values + fill(tile, array, index)


def _emit_relu(emit, tile):
    def cut(vector):
        negative = emit.builder.fcmp_ordered("<", vector, _ZERO)
        return emit.builder.select(negative, _ZERO, vector)

    return emit.pack([cut(vector) for vector in emit.unpack(emit.values[0])])


@_primitive("VT", _emit_relu, _size)
def relu(values, tile):
    """0 where negative; NaN stays: ``vcmpltps`` and a masked move (``vmaxps``) a vector."""
    return np.where(values < 0, np.float32(0), values)


def _weights(emit, tile, array, index, tap_step):
    """The vectors of a kernel's row: [tap][vector]."""
    address = emit.address(array, index)
    taps = [emit.step(address, tap, emit.values[tap_step]) for tap in range(tile.taps)]
    return [[emit.load(*place) for place in emit.pixel(tile, tap)] for tap in taps]


def _emit_correlate(emit, tile):
    values = emit.unpack(emit.values[0])
    weights = _weights(emit, tile, 5, 6, 7)
    first = emit.address(2, 3)
    for row in range(tile.rows):
        begin = emit.step(first, row, emit.values[4])
        for place in range(tile.columns + tile.taps - 1):
            pixel = emit.broadcast(emit.step(begin, place * tile.stride))
            for tap in range(tile.taps):
                column = place - tap
                if 0 <= column < tile.columns:
                    for vector in range(tile.vectors):
                        k = (row * tile.columns + column) * tile.vectors + vector
                        values[k] = emit.multiply_add(pixel, weights[tap][vector], values[k])
    return emit.pack(values)


@_primitive("VTAINAIN", _emit_correlate, _size)
def correlate(values, tile, x, i, row_step, kernel, k, tap_step):
    """Add to every pixel its neighbours times a kernel's row, and return the sums.

    ``values[r, c, :] += sum over t of x[i + r*row_step + (c+t)*stride] *
    kernel[k + t*tap_step : + width]``

    One ``vfmadd231ps`` (``fmla``) for each vector and tap; a number of x is read
    once for all taps and vectors that use it, ``vbroadcastss``.
    """
    flat, weights = x.reshape(-1), kernel.reshape(-1)
    firsts = _pixel_offsets(tile, x, i, row_step, tile.stride)
    weight = _pixel_offsets(tile, kernel, k, 0, 0)[0, 0]
    values = values.copy()
    for t in range(tile.taps):
        vector = _whole(tile, weights[weight + t * tap_step :][: tile.width])
        values += flat[firsts + t * tile.stride][..., np.newaxis] * vector
    return values


def _emit_scatter(emit, tile):
    values = emit.unpack(emit.values[0])
    weights = _weights(emit, tile, 5, 6, 7)
    first = emit.address(2, 3)
    for row in range(tile.rows):
        begin = emit.step(first, row, emit.values[4])
        for column in range(tile.columns):
            pixel = emit.broadcast(emit.step(begin, column * tile.stride))
            for tap in range(tile.taps):
                for vector in range(tile.vectors):
                    k = (row * tile.spread.columns + column + tap) * tile.vectors + vector
                    values[k] = emit.multiply_add(pixel, weights[tap][vector], values[k])
    return emit.pack(values)


@_primitive("VTAINAIN", _emit_scatter, _spread_size)
def scatter(values, tile, g, i, row_step, kernel, k, tap_step):
    """Add every pixel times a kernel's row to its neighbours: `correlate` turned round.

    ``values[r, c+t, :] += g[i + r*row_step + c*stride] *
    kernel[k + t*tap_step : + width]`` for every c and t

    `values` are a tile of ``tile.spread``. Instructions as for `correlate`.
    """
    flat, weights = g.reshape(-1), kernel.reshape(-1)
    firsts = _pixel_offsets(tile, g, i, row_step, tile.stride)
    weight = _pixel_offsets(tile, kernel, k, 0, 0)[0, 0]
    values = values.copy()
    for t in range(tile.taps):
        vector = _whole(tile, weights[weight + t * tap_step :][: tile.width])
        values[:, t : t + tile.columns] += flat[firsts][..., np.newaxis] * vector
    return values
