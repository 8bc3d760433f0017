"""The arithmetic of the compiled engine: only what differs between images is computed.

An image is one *background*, B[c], the same at every position, and a few *active*
positions p where it differs, by D[p, c]; see `minidqn.nn.pixels`. A convolution
("valid", stride 1) with a ReLU keeps that form. With w[t] for tap t of the kernel,
b for the bias and S for the sum of all w[t]:

    z0 = b + B S,    Z[p] = z0 + sum of D[q] w[t] over the active q that p sees at tap t

    B' = relu(z0),   D'[p] = relu(Z[p]) - B'

A dense layer is the same operation. It has a matrix for each position of its input
instead of each tap, and one output, which every position sees: h = z0 + sum of
D[p] W[p], with S the sum of all W[p]. So each layer is a list of *pairs*: input row q
gives D[q] times matrix m to output row p. The pairs of one matrix lie side by side,
which is what makes them fast: a few results stay in registers while the matrix is read
once for all of them.

Backward, with g[p] the gradient past the gate of the ReLU, and dB' and dD' the
gradients that arrive from the layer above:

    dz0 = (dB' - sum of all dD') where z0 > 0, + sum of all g
    db = dz0,    dw[m] = outer(B, dz0) + sum of outer(D[q], g[p]) over the pairs of m
    dD[q] = sum of w[m] g[p] over the pairs of q,    dB = S dz0

A dense layer's output has no background, so its dz0 is the sum of all g.

Every kernel is compiled once for all networks: sizes are numbers at run time, and
arrays are float32, int32 or int64 and C-contiguous; the table of layers, the outputs and
their gradient have two dimensions, all others one. A row of numbers is filled up to whole
vectors of `LANES` with zeros, which stay zeros. Nothing is checked here:
`minidqn.nn.engine` makes arrays that are large enough and `minidqn.nn.pixels` lets only
finite numbers in. ``NUMBA_DISABLE_JIT=1`` runs the same lines as plain Python.

float32 rounds D' relative to B': where a background is a thousand times as large as the
outputs, they have three digits less.

Four instructions are spelled for LLVM. `zeros`, `add_products` and `add_to_rows` keep a tile of
results in registers, as Numba's own loops do not: a learning step of the default network takes
1.8 times as long with the best of them (`python -m benchmarks.ladder`). `turn_square` turns a
square of a matrix there, too, where plain loops write number by number.

References
----------
Graham & van der Maaten (2017), *Submanifold Sparse Convolutional Networks*, for
convolutions as lists of pairs. https://llvm.org/docs/LangRef.html (the flag ``contract``).
"""

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic, models, register_jitable, register_model

from minidqn.nn.cache import compiled

LANES = 16
"""Float32 numbers in a vector. LLVM cuts it in two or four where registers are shorter."""

TILE = 6
"""Rows of results that stay in registers: 12 of the 16 that AVX2 has, 6 of AVX-512's 32."""

REST = 4
"""Rows where fewer than `TILE` are left; 16 rows are two of `TILE` and one of these."""

SAMPLES = 16
"""Images in a chunk of a convolution: what belongs to them stays in the nearest caches."""

COLUMNS = (
    CONVOLUTION, RELU, CHANNELS, GROUPS, OUTPUTS, AREA, ROW, KERNEL, BIAS,
    D, G, S, Z0, B, DB, TOTAL, TURNED,
    FIRST, LAST, POSITIONS, SEEN_BY, MARKS, SOURCES, TARGETS, BEGIN, END, ONES, LINES, TURNED_LINES,
    ROWS, CHUNKS,
) = range(31)  # fmt: skip
"""Columns of the table of layers, whose line 0 is the input.

`CONVOLUTION` (1 or 0), `RELU`; `CHANNELS` of what comes in; `GROUPS`, the number of
matrices; `OUTPUTS` of a position and, filled up, `ROW`; `AREA`, how many positions the
output has. `KERNEL` and `BIAS` say where these begin in the parameters; `D` to `TURNED`
where an array begins in `numbers`, and `FIRST` to `TURNED_LINES` where one begins in `places`.
Four of these the engine fills: number ``q * GROUPS + m`` of `SEEN_BY` is the output position
that sees position q at tap m, `AREA` if there is none; `ONES` is 0, 1, 2, ..., and `LINES` and
`TURNED_LINES` say where the rows of a matrix begin, and those of a turned one. `ROWS` and
`CHUNKS` are counted by ``forward``: active positions of the output, and chunks of pairs."""


inner = register_jitable(no_cfunc_wrapper=True, forceinline=True)
"""Decorates what only compiled functions call. Without ``forceinline`` LLVM keeps some of them as
calls, with fifty arguments each, which take longer than the work when frames are few."""


def whole_vectors(count):
    """How many numbers a row of `count` has, an int, when it is filled up."""
    return -(-count // LANES) * LANES


def aligned(size, dtype=np.float32):
    """Zeros that begin at a multiple of 64 bytes, where a line of the processor's cache does.

    Parameters
    ----------
    size : int
        How many.
    dtype : dtype
        Of which kind.

    Returns
    -------
    ndarray [shape=(size,)]
        A new array.
    """
    raw = np.zeros(size + 64 // np.dtype(dtype).itemsize, dtype)
    return raw[-raw.ctypes.data % 64 // raw.itemsize :][:size]


VECTOR = ir.VectorType(ir.FloatType(), LANES)


class TileType(types.Type):
    """Numba's type of `count` vectors that stay in registers."""

    def __init__(self, count):
        self.count = count
        super().__init__(name=f"tile[{count}]")


@register_model(TileType)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager, tile):
        super().__init__(manager, tile, ir.ArrayType(VECTOR, tile.count))


def instruction(plain):
    """Decorate the spelling of an instruction whose meaning is the function `plain`."""
    return (lambda _: plain) if config.DISABLE_JIT else intrinsic(prefer_literal=True)


def _address(context, builder, kind, array, index):
    """The address of ``array[index]``."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def _step(builder, address, offsets, t):
    """`address`, further by the number of places that ``offsets[t]`` says."""
    place = builder.load(builder.gep(offsets, [ir.IntType(64)(t)]))
    return builder.gep(address, [builder.sext(place, ir.IntType(64))])


def _zeros(count):
    """A tile of zeros."""
    return np.zeros((count, LANES), np.float32)


@instruction(_zeros)
def zeros(context, count):
    def spell(context, builder, signature, arguments):
        return ir.Constant(ir.ArrayType(VECTOR, count.literal_value), None)

    return TileType(count.literal_value)(count), spell


def _add_products(tile, x, offsets, n, i, w, j):
    """``tile[t] + x[offsets[n + t] + i] * w[j : j + LANES]``, for every t of a tile."""
    return tile + x[offsets[n : n + len(tile)] + i][:, np.newaxis] * w[j : j + LANES]


@instruction(_add_products)
def add_products(context, tile, x, offsets, n, i, w, j):
    def spell(context, builder, signature, arguments):
        tiles, x_, offsets_, n_, i_, w_, j_ = arguments
        row = builder.bitcast(_address(context, builder, w, w_, j_), VECTOR.as_pointer())
        row = builder.load(row, align=4)
        start = _address(context, builder, x, x_, ir.IntType(64)(0))
        places = _address(context, builder, offsets, offsets_, n_)
        nothing = ir.Constant(VECTOR, ir.Undefined)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
        for t in range(tile.count):
            # The row's place first, then i: LLVM finds the first part once for all i. Added the
            # other way round they took so many registers that a step became half as fast.
            number = builder.load(builder.gep(_step(builder, start, places, t), [i_]))
            spread = builder.insert_element(nothing, number, ir.IntType(32)(0))
            spread = builder.shuffle_vector(spread, nothing, everywhere)
            product = builder.fmul(spread, row, flags=["contract"])  # then fused with the sum
            total = builder.fadd(builder.extract_value(tiles, t), product, flags=["contract"])
            tiles = builder.insert_value(tiles, total, t)
        return tiles

    return tile(tile, x, offsets, types.intp, types.intp, w, types.intp), spell


def _add_to_rows(tile, z, offsets, n, k):
    """``z[offsets[n + t] + k : ... + LANES] += tile[t]``, for every t of a tile."""
    for t, row in enumerate(tile):
        z[offsets[n + t] + k : offsets[n + t] + k + LANES] += row


@instruction(_add_to_rows)
def add_to_rows(context, tile, z, offsets, n, k):
    def spell(context, builder, signature, arguments):
        tiles, z_, offsets_, n_, k_ = arguments
        start = _address(context, builder, z, z_, k_)
        places = _address(context, builder, offsets, offsets_, n_)
        for t in range(tile.count):
            row = builder.bitcast(_step(builder, start, places, t), VECTOR.as_pointer())
            total = builder.fadd(builder.load(row, align=4), builder.extract_value(tiles, t))
            builder.store(total, row, align=4)
        return context.get_dummy_value()

    return types.void(tile, z, offsets, types.intp, types.intp), spell


def _turn_square(w, i, row, turned, j, stride):
    """``turned[j + k * stride + c] = w[i + c * row + k]`` for c and k below `LANES`."""
    for c in range(LANES):
        turned[j + c + stride * np.arange(LANES)] = w[i + c * row : i + c * row + LANES]


@instruction(_turn_square)
def turn_square(context, w, i, row, turned, j, stride):
    def spell(context, builder, signature, arguments):
        w_, i_, row_, turned_, j_, stride_ = arguments

        def line(kind, array, begin, step, t):
            index = builder.add(begin, builder.mul(step, ir.IntType(64)(t)))
            address = _address(context, builder, kind, array, index)
            return builder.bitcast(address, VECTOR.as_pointer())

        rows = [builder.load(line(w, w_, i_, row_, t), align=4) for t in range(LANES)]
        kind, half = ir.VectorType(ir.IntType(32), LANES), LANES // 2
        zipped = [n // 2 + n % 2 * LANES for n in range(LANES)]  # one of each, in turn
        zips = [ir.Constant(kind, [n + begin for n in zipped]) for begin in (0, half)]
        for _ in range(LANES.bit_length() - 1):  # shuffled like cards until all is turned
            pairs = [(rows[t // 2], rows[t // 2 + half], zips[t % 2]) for t in range(LANES)]
            rows = [builder.shuffle_vector(*pair) for pair in pairs]
        for t, vector in enumerate(rows):
            builder.store(vector, line(turned, turned_, j_, stride_, t), align=4)
        return context.get_dummy_value()

    places = types.intp, types.intp
    return types.void(w, *places, turned, *places), spell


@inner
def add_blocks(nothing, n, count, k, sources, targets, terms, lines, x, w, i, z):
    """Rows n and on of ``multiply``, `count` at a time, and `LANES` columns from k on.

    `nothing` is a tile of `count` zeros. Returned is the first row for which a block is too long.
    """
    while n + count <= len(sources):
        tile = nothing
        for j in range(len(terms)):
            tile = add_products(tile, x, sources, n, terms[j], w, i + lines[j] + k)
        add_to_rows(tile, z, targets, n, k)
        n += count
    return n


@inner
def multiply(sources, targets, terms, lines, x, w, i, z, row):
    """A product of matrices whose rows lie anywhere; one row of the result for each n.

    ``z[targets[n]] += sum over j of x[sources[n] + terms[j]] * w[i + lines[j]]``, where a place
    in z and one in w stand for the `row` numbers from there on.
    """
    for k in range(0, row, LANES):
        given = k, sources, targets, terms, lines, x, w, i, z
        n = add_blocks(zeros(TILE), 0, TILE, *given)
        n = add_blocks(zeros(REST), n, REST, *given)
        add_blocks(zeros(1), n, 1, *given)


@inner
def part(array, begin, size):
    """`size` numbers of an array; within them an index counts from 0, which vectorizes."""
    return array[begin : begin + size]


@inner
def fill(array, value):
    """Put a number everywhere; a plain loop is faster than a slice's assignment."""
    for i in range(len(array)):
        array[i] = value


@inner
def turn(w, channels, row, turned, stride):
    """``turned = w.T``: squares of `LANES` at a time, and number by number what is left.

    Of a row of `turned`, what follows its `channels` numbers is not written, and stays 0.
    """
    whole = channels // LANES * LANES
    for c in range(0, whole, LANES):
        for k in range(0, row, LANES):
            turn_square(w, c * row + k, row, turned, k * stride + c, stride)
    for c in range(whole, channels):
        for k in range(row):
            turned[np.uintp(k * stride + c)] = w[np.uintp(c * row + k)]


@inner
def pair_taps(layer, row_in, learned, rows_in, rows_out, places):
    """Find a convolution's active outputs, and the pairs of each chunk of images and each tap.

    A chunk holds images that are learned from, or others, not both. Each tap of a chunk has
    room for one pair per input row; END says how much of it is used. MARKS holds a number for
    each output position: its row, once this image has one.
    """
    first, last, positions = rows_in
    first_out, last_out, positions_out = rows_out
    row, groups, outside = layer[ROW], layer[GROUPS], layer[AREA]
    seen_by = places[layer[SEEN_BY] :]
    sources, targets = places[layer[SOURCES] :], places[layer[TARGETS] :]
    marks = part(places, layer[MARKS], outside + 1)
    fill(marks, -1)
    marks[outside] = np.iinfo(np.int32).max  # no output is there, and none is found
    rows = pairs = chunk = a = 0
    while a < len(first):
        b = min(a + SAMPLES, learned if a < learned else len(first))
        inputs = last[a:b].sum() - first[a:b].sum()
        begins = part(places, layer[BEGIN] + chunk * groups, groups)
        ends = part(places, layer[END] + chunk * groups, groups)
        for m in range(groups):
            begins[m] = ends[m] = pairs + m * inputs
        for s in range(a, b):
            start = first_out[s] = rows
            for m in range(groups):
                e = np.uint32(ends[m])  # unsigned places need no look whether they are negative
                for q in range(np.uint32(first[s]), np.uint32(last[s])):
                    p = np.uint32(seen_by[np.uint32(positions[q] * groups + m)])
                    r = marks[p]
                    if r < start:
                        r = marks[p] = rows
                        positions_out[r] = p
                        rows += 1
                    # A pair is written in any case, and counts if its output is one.
                    sources[e], targets[e] = q * row_in, (r if r < rows else rows) * row
                    e += np.uint32(p != outside)
                ends[m] = e
            last_out[s] = rows
        pairs += groups * inputs
        a, chunk = b, chunk + 1
    layer[ROWS], layer[CHUNKS] = rows, chunk


@inner
def pair_positions(layer, row_in, learned, rows_in, places):
    """Sort the input rows of a dense layer by position: a pair of each with its image's row.

    BEGIN has two numbers more than there are positions, the first of them where all pairs end;
    END says where the pairs end that are learned from, which come first.
    """
    first, last, positions = rows_in
    row, groups = layer[ROW], layer[GROUPS]
    sources, targets = places[layer[SOURCES] :], places[layer[TARGETS] :]
    begins, ends = part(places, layer[BEGIN], groups + 2), part(places, layer[END], groups)
    begins[:] = 0
    for s in range(len(first)):
        for q in range(first[s], last[s]):
            begins[positions[q] + 2] += 1
    for m in range(groups):  # while pairs are written, begins[m + 1] is where m's next one goes
        ends[m] = begins[m + 1]
        begins[m + 2] += begins[m + 1]
    for s in range(len(first)):
        for q in range(first[s], last[s]):
            m = positions[q]
            e = begins[m + 1]
            sources[e], targets[e] = q * row_in, s * row
            begins[m + 1] = e + 1
            if s < learned:
                ends[m] = e + 1
    layer[ROWS], layer[CHUNKS] = len(first), 1


@inner
def find_background(below, layer, parameters, numbers):
    """``z0 = b + B S`` and, of a convolution, ``B' = relu(z0)``.

    No background comes from the states or from a dense layer.
    """
    row, size = layer[ROW], layer[CHANNELS] * layer[ROW]
    z0, background = part(numbers, layer[Z0], row), part(numbers, layer[B], row)
    z0[:] = part(parameters, layer[BIAS], row)
    if below[CONVOLUTION]:
        total = part(numbers, layer[S], size)
        fill(total, 0)
        for m in range(layer[GROUPS]):
            w = part(parameters, layer[KERNEL] + m * size, size)
            for i in range(size):
                total[i] += w[i]
        for c in range(layer[CHANNELS]):
            of_channel, b = part(total, c * row, row), numbers[below[B] + c]
            for k in range(row):
                z0[k] += b * of_channel[k]
    for k in range(row if layer[CONVOLUTION] else 0):
        background[k] = np.float32(0) if layer[RELU] and z0[k] < 0 else z0[k]


@inner
def activate(layer, numbers):
    """From the sums over pairs to D': ``relu(z0 + sum) - B'``."""
    row, floor = layer[ROW], np.float32(0 if layer[RELU] else -np.inf)
    z0, background = part(numbers, layer[Z0], row), part(numbers, layer[B], row)
    for r in range(layer[D], layer[D] + layer[ROWS] * row, row):
        d = part(numbers, r, row)
        for k in range(row):
            value = d[k] + z0[k]
            d[k] = (floor if value < floor else value) - background[k]  # NaN stays NaN


@inner
def gate(layer, rows, numbers, dz0):
    """From dD' to the gradient past the ReLU, in place, and from dB' to that by z0."""
    row, relu, shift = layer[ROW], layer[RELU], layer[G] - layer[D]
    background, z0 = part(numbers, layer[B], row), part(numbers, layer[Z0], row)
    db, total = part(numbers, layer[DB], row), part(numbers, layer[TOTAL], row)
    dz0[:] = total[:] = 0
    for r in range(layer[D], layer[D] + rows * row, row):
        d, g = part(numbers, r, row), part(numbers, r + shift, row)
        for k in range(row):
            total[k] += g[k]
            g[k] = g[k] if d[k] > -background[k] or not relu else np.float32(0)
            dz0[k] += g[k]
    for k in range(row):
        if layer[CONVOLUTION] and not (relu and z0[k] <= 0):
            dz0[k] += db[k] - total[k]


@compiled
def forward(layers, parameters, numbers, places, first, last, positions, values, learned, fresh, y):
    """Every layer's D', for the images of `Pixels`.

    Parameters
    ----------
    layers : ndarray [shape=(L + 1, len(COLUMNS))], int64
        The table; ``ROWS`` and ``CHUNKS`` are filled in.
    parameters : ndarray [shape=(P,)], float32
        All weights.
    numbers, places : ndarray, float32 and int32
        Memory to work in, as the table says.
    first, last, positions, values : ndarray
        Those of `Pixels`.
    learned : int
        For how many images, from the first on, ``backward`` may follow.
    fresh : bool
        Whether the backgrounds are known: nothing but the images has changed.
    y : ndarray [shape=(N, units)], float32
        Where the last layer's outputs go.
    """
    x, rows_in = values, (first, last, positions)
    for n in range(1, len(layers)):
        below, layer = layers[n - 1], layers[n]
        row, groups, channels = layer[ROW], layer[GROUPS], layer[CHANNELS]
        if not fresh:
            find_background(below, layer, parameters, numbers)
        firsts, lasts = part(places, layer[FIRST], len(y)), part(places, layer[LAST], len(y))
        rows_out = firsts, lasts, places[layer[POSITIONS] :]
        if layer[CONVOLUTION]:
            pair_taps(layer, below[ROW], learned, rows_in, rows_out, places)
        else:
            pair_positions(layer, below[ROW], learned, rows_in, places)
        ones, lines = part(places, layer[ONES], channels), part(places, layer[LINES], channels)
        z = part(numbers, layer[D], layer[ROWS] * row)
        fill(z, 0)
        begins, size = places[layer[BEGIN] :], channels * row
        ends = places[layer[END] :] if layer[CONVOLUTION] else begins[1:]
        for group in range(layer[CHUNKS] * groups):
            begin, pairs = begins[group], ends[group] - begins[group]
            if pairs == 0:
                continue
            sources = part(places, layer[SOURCES] + begin, pairs)
            targets = part(places, layer[TARGETS] + begin, pairs)
            matrix = layer[KERNEL] + group % groups * size
            multiply(sources, targets, ones, lines, x, parameters, matrix, z, row)
        activate(layer, numbers)
        x, rows_in = z, rows_out
    layer = layers[len(layers) - 1]
    for s in range(len(y)):
        y[s] = part(numbers, layer[D] + s * layer[ROW], layer[OUTPUTS])


@compiled
def backward(layers, parameters, gradients, numbers, places, values, gradient):
    """Every weight's gradient, from that by the outputs.

    Parameters
    ----------
    layers, parameters, numbers, places, values
        As ``forward`` had them.
    gradients : ndarray [shape=(P,)], float32
        Where the gradients go.
    gradient : ndarray [shape=(learned, units)], float32
        Of the loss, by the outputs of the images that are learned from.
    """
    learned, layer = len(gradient), layers[len(layers) - 1]
    for s in range(learned):
        part(numbers, layer[G] + s * layer[ROW], layer[OUTPUTS])[:] = gradient[s]
    for n in range(len(layers) - 1, 0, -1):
        below, layer = layers[n - 1], layers[n]
        row, groups, channels = layer[ROW], layer[GROUPS], layer[CHANNELS]
        row_in, outputs, size = below[ROW], layer[OUTPUTS], channels * row
        dz0 = part(gradients, layer[BIAS], row)  # which is the bias's gradient
        gate(layer, places[layer[LAST] + learned - 1], numbers, dz0)
        for c in range(channels if below[CONVOLUTION] else 0):
            total, kernel_sum = np.float32(0), part(numbers, layer[S] + c * row, row)
            for k in range(row):
                total += kernel_sum[k] * dz0[k]
            numbers[below[DB] + c] = total
        x, g, dx = values, numbers[layer[G] :], numbers[below[G] :]
        if n > 1:
            x = numbers[below[D] :]
            fill(part(dx, 0, places[below[LAST] + learned - 1] * row_in), 0)
        ones, lines = part(places, layer[ONES], channels), part(places, layer[LINES], channels)
        columns = part(places, layer[ONES], outputs)
        turned_lines = part(places, layer[TURNED_LINES], outputs)
        begins, ends = places[layer[BEGIN] :], places[layer[END] :]
        chunks = -(-learned // SAMPLES) if layer[CONVOLUTION] else 1
        for group in range(chunks * groups):
            matrix = layer[KERNEL] + group % groups * size
            for c in range(channels if group < groups else 0):
                background = numbers[below[B] + c] if below[CONVOLUTION] else np.float32(0)
                dw = part(gradients, matrix + c * row, row)
                for k in range(row):
                    dw[k] = background * dz0[k]
            begin, pairs = begins[group], ends[group] - begins[group]
            if pairs == 0:
                continue
            sources = part(places, layer[SOURCES] + begin, pairs)
            targets = part(places, layer[TARGETS] + begin, pairs)
            multiply(ones, lines, sources, targets, x, g, 0, part(gradients, matrix, size), row)
            if n > 1:
                turned = part(numbers, layer[TURNED], row * row_in)
                turn(part(parameters, matrix, size), channels, row, turned, row_in)
                multiply(targets, sources, columns, turned_lines, g, turned, 0, dx, row_in)


@compiled
def scan(images, channels, first, last, positions, step, values, step_values):
    """Find what is not 0 in images.

    Parameters
    ----------
    images : ndarray [shape=(N * C * H * W,)], float32
        Channels first.
    channels : int
        C.
    first, last : ndarray [shape=(N,)], int32
        Where each image's rows are said to begin and end.
    positions, values : ndarray, int32 and float32
        Row r's position goes to ``positions[r * step]``, its C numbers to
        ``values[r * step_values]`` and on.
    step, step_values : int
        From one row to the next.

    Returns
    -------
    int
        How many rows there are; -1 if not all numbers are finite.
    """
    rows, finite = 0, True
    size = len(images) // (len(first) * channels) if len(first) else 0
    for s in range(len(first)):
        first[s] = rows
        start = s * channels * size
        for p in range(start, start + size):
            active = False
            for c in range(0, channels * size, size):
                active |= images[p + c] != 0
            if active:
                positions[rows * step] = p - start
                for c in range(channels):
                    value = images[p + c * size]
                    finite &= abs(value) < np.inf
                    values[rows * step_values + c] = value
                rows += 1
        last[s] = rows
    return rows if finite else -1


@compiled
def gather(rows, numbers, channels, begin, end, first, last, positions, values):
    """Copy images' rows out of a ring.

    Parameters
    ----------
    rows : ndarray [shape=(R * (1 + C),)], int32
        The ring: each row a position and the bits of C numbers.
    numbers : ndarray [shape=(R * (1 + C),)], float32
        The same memory.
    channels : int
        C.
    begin, end : ndarray [shape=(N,)], int64
        Each image's rows, before they are taken modulo R.
    first, last, positions, values : ndarray
        Where those of `Pixels` go.
    """
    columns, r = channels + 1, 0
    for n in range(len(begin)):
        first[n] = r
        i = begin[n] * columns % len(rows)
        for _ in range(end[n] - begin[n]):
            positions[r] = rows[i]
            for c in range(channels):
                values[r * channels + c] = numbers[i + 1 + c]
            i += columns
            i = 0 if i == len(rows) else i
            r += 1
        last[n] = r
