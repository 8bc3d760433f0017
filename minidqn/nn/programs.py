"""Programs: work that is written down once, and then done many times by several threads.

A step of learning is some dozens of kernel calls, always the same ones on the
same arrays. To check their arguments, hand them over and take the interpreter
lock back would cost as much as the arithmetic of a small network. So a layer
does not call a kernel, it describes the call, a `Job`; a `Program` is a list of
jobs in stages, and `run` does all of it in one go, outside the interpreter.

A kernel does a part of a job: from a first sample (or row) to a last one. The
parts are the same for any number of threads, and each writes to a place of its
own, so that the bits of the results do not depend on who did what.

`Program.run_plainly` says in plain Python what running a program means;
``NUMBA_DISABLE_JIT=1`` runs that. The compiled version differs in that it calls
each kernel by its address, with arguments that lie in memory, ready to be used.
"""

import functools
import itertools
from typing import NamedTuple

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.targetconfig import ConfigStack
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    register_jitable,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.arrayobj import populate_array

from minidqn.nn.simd import Tile, TileType

__all__ = ["Job", "Program", "Span", "address_of", "compiled", "run"]


def compiled(function=None, *, nogil=True):
    """Compile a function with Numba, cached on disk where a folder allows it.

    Numba caches beside the source, or in the user's cache folder if that place
    is read-only. Where neither can be written to, the function is compiled
    afresh by each process instead of failing to import.

    Parameters
    ----------
    function : callable
        Plain Python over arrays and numbers.
    nogil : bool
        Whether other threads may run Python meanwhile. For a few microseconds it
        is not worth it: to get the lock back takes longer than that.

    Returns
    -------
    callable
        The compiled function; the plain one is its ``py_func``. Under
        ``NUMBA_DISABLE_JIT=1`` it is `function` itself.

    References
    ----------
    https://numba.readthedocs.io/en/stable/developer/caching.html
    """
    if function is None:
        return functools.partial(compiled, nogil=nogil)
    options = {
        "nogil": nogil,
        "error_model": "numpy",
        "fastmath": {"contract"},
        "no_cfunc_wrapper": True,  # nobody calls it from C, and it takes time to make
    }
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError as error:
        if "cannot cache function" not in str(error):  # "... no locator available"
            raise
        return numba.njit(**options)(function)


inner = register_jitable(no_cfunc_wrapper=True)
"""Decorates what only compiled functions call."""


class Span(NamedTuple):
    """Which part of a job a kernel does.

    Attributes
    ----------
    first, last : int
        From this sample, or row, to before that one.
    part : int
        The number of this part, from 0.
    worker : int
        The number of the thread, from 0: for memory that each needs of its own.
    samples : int
        How many samples the program runs for.
    """

    first: int
    last: int
    part: int
    worker: int
    samples: int


class Job(NamedTuple):
    """A kernel and what it works on.

    Attributes
    ----------
    kernel : callable
        Called as ``kernel(span, *arguments)``, in plain Python or compiled.
    find : callable
        Compiled by means of `address_of`: where its compiled code is.
    arguments : tuple
        Tiles, arrays and numbers.
    samples : int
        How many samples the arrays have room for.
    chunk : int
        How much of `count` is done in one part; the last one may be smaller.
    count : int or None
        How much there is to do; None if it is the samples.
    turn : int
        0 if the job is done in its turn, -1 if before all that are, 1 if after.
    """

    kernel: object
    find: object
    arguments: tuple
    samples: int
    chunk: int
    count: int | None = None
    turn: int = 0


class Program:
    """Jobs in the order in which they are to be done.

    Jobs that follow one another and go over the samples in the same chunks make
    one stage: a part of the samples passes through all of them while it is in
    the cache. Every other job is a stage of its own.
    """

    def __init__(self):
        self._stages = {-1: [], 0: [], 1: []}
        self._table = None

    def do(self, *jobs):
        """Append jobs.

        Parameters
        ----------
        jobs : Job
            What is to be done.
        """
        for job in jobs:
            stages = self._stages[job.turn]
            before = stages[-1][-1] if stages else None
            if before and job.count is None and (before.count, before.chunk) == (None, job.chunk):
                stages[-1].append(job)
            else:
                stages.append([job])
        self._table = None

    @property
    def stages(self):
        """Lists of jobs."""
        return self._stages[-1] + self._stages[0] + self._stages[1]

    def run_plainly(self, samples):
        """Run this program in plain Python: the definition.

        Parameters
        ----------
        samples : int
            How many samples to run it for.
        """
        for stage in self.stages:
            chunk = stage[0].chunk
            count = samples if stage[0].count is None else stage[0].count
            for part, first in enumerate(range(0, count, chunk)):
                span = Span(first, min(first + chunk, count), part, 0, samples)
                for job in stage:
                    job.kernel(span, *job.arguments)

    @property
    def address(self):
        """Where the compiled version begins in memory.

        Numbers: of stages; then for each stage the count or -1, the chunk and the
        number of jobs; then for each job two addresses, of code and of arguments.
        """
        if self._table is None:
            table = [len(self.stages)]
            self._blocks = []  # the arguments must stay where they are
            for stage in self.stages:
                count = -1 if stage[0].count is None else stage[0].count
                table += [count, stage[0].chunk, len(stage)]
                for job in stage:
                    words = [word for argument in job.arguments for word in _words(argument)]
                    block = np.array(words, np.int64)
                    self._blocks.append(block)
                    table += [job.find(_Kinds(job.arguments)), block.ctypes.data]
            self._table = np.array(table, np.int64)
            self._address = self._table.ctypes.data
        return self._address


def run(*jobs):
    """Do jobs at once, for all samples they have room for.

    Parameters
    ----------
    jobs : Job
        What is to be done.
    """
    program = Program()
    program.do(*jobs)
    samples = max(job.samples for job in jobs)
    if config.DISABLE_JIT:
        program.run_plainly(samples)
    else:
        board = np.zeros(WORDS, np.int64)
        work(program.address, samples, board)
        check(board)


_INT64 = ir.IntType(64)
_SPAN = types.NamedUniTuple(types.intp, len(Span._fields), Span)
_ENTRY_TYPE = ir.FunctionType(_INT64, [_INT64] * (1 + len(Span._fields)))


class _Kinds:
    """Numba's types of a job's arguments: what a kernel is compiled for."""

    def __init__(self, arguments):
        self.kinds = tuple(map(numba.typeof, arguments))


class _KindsType(types.Type):
    """Numba's type of `_Kinds`."""

    def __init__(self, kinds):
        self.kinds = kinds
        super().__init__(name=f"kinds {kinds}")


register_model(_KindsType)(models.OpaqueModel)


@typeof_impl.register(_Kinds)
def _typeof_kinds(kinds, context):
    return _KindsType(kinds.kinds)


@unbox(_KindsType)
def _unboxed_kinds(kind, value, c):
    return NativeValue(c.context.get_dummy_value())


def _words(argument):
    """An argument as the words that `_read` reads."""
    if isinstance(argument, Tile):
        return []
    if isinstance(argument, np.ndarray):
        return [argument.ctypes.data, *argument.shape, *argument.strides]
    return [argument]


def _read(context, builder, kind, words):
    """An argument of some kind, from the words that are left in an iterator of addresses."""
    if isinstance(kind, TileType):
        return context.get_dummy_value()
    if not isinstance(kind, types.Array):
        return builder.load(next(words))
    array = context.make_array(kind)(context, builder)
    data, *sizes = (builder.load(next(words)) for _ in range(1 + 2 * kind.ndim))
    itemsize = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    populate_array(
        array,
        data=builder.inttoptr(data, array.data.type),
        shape=sizes[: kind.ndim],
        strides=sizes[kind.ndim :],
        itemsize=_INT64(itemsize),
        meminfo=None,  # the owner keeps it alive; references are not counted here
    )
    return array._getvalue()


def address_of(kernel):
    """Make an intrinsic that compiles a kernel, and says where its code is.

    Parameters
    ----------
    kernel : callable
        Plain Python that Numba can compile, called as ``kernel(span, *arguments)``.

    Returns
    -------
    callable
        For compiled code: from the kinds of the arguments to an address. Numba keeps
        on disk what a module's own functions call, so every kernel has one that calls
        its intrinsic, and that is the ``find`` of its jobs.
    """
    if config.DISABLE_JIT:
        return None

    @intrinsic
    def address(context, kinds):
        def generate(context, builder, signature, values):
            entry = _entry(kernel, context, builder, signature.args[0].kinds)
            return builder.ptrtoint(entry, _INT64)

        return types.intp(kinds), generate

    return address


def _entry(kernel, context, builder, kinds):
    """A function of a kernel's own that takes its arguments from memory."""
    flags = ConfigStack().top().copy()  # the options of `compiled`
    signature = types.void(_SPAN, *kinds)
    code = context.compile_subroutine(builder, kernel, signature, flags=flags)
    name = builder.module.get_unique_name(f"{kernel.__name__}_entry")
    entry = ir.Function(builder.module, _ENTRY_TYPE, name)
    entry.linkage = "internal"
    body = ir.IRBuilder(entry.append_basic_block())
    block, *numbers = entry.args
    first = body.inttoptr(block, _INT64.as_pointer())
    words = (body.gep(first, [_INT64(place)]) for place in itertools.count())
    span = context.make_tuple(body, _SPAN, numbers)
    arguments = [span, *(_read(context, body, kind, words) for kind in kinds)]
    status, _ = context.call_internal_no_propagate(body, code.fndesc, signature, arguments)
    body.ret(body.zext(status.is_error, _INT64))
    return entry


@intrinsic
def _call(context, code, block, span):
    """Call a kernel with arguments that lie at `block`; 1 if it raised something, else 0."""

    def generate(context, builder, signature, values):
        entry = builder.inttoptr(values[0], _ENTRY_TYPE.as_pointer())
        return builder.call(entry, [values[1], *cgutils.unpack_tuple(builder, values[2])])

    return types.intp(types.intp, types.intp, _SPAN), generate


@intrinsic
def _word(context, address, place):
    """The word at an address, so many words on: ``mov`` (``ldr``)."""

    def generate(context, builder, signature, values):
        words = builder.inttoptr(values[0], _INT64.as_pointer())
        return builder.load(builder.gep(words, [values[1]]))

    return types.intp(types.intp, types.intp), generate


def _place(context, builder, signature, values):
    array = context.make_array(signature.args[0])(context, builder, values[0])
    return builder.gep(array.data, [values[1]])


@intrinsic
def look(context, board, place):
    """A number of an int64 array, as another thread left it: ``mov`` (``ldar``)."""

    def generate(context, builder, signature, values):
        return builder.load_atomic(_place(context, builder, signature, values), "seq_cst", 8)

    return types.intp(board, types.intp), generate


@intrinsic
def put(context, board, place, number):
    """A number into an int64 array, for other threads to see: ``xchg`` (``stlr``)."""

    def generate(context, builder, signature, values):
        place = _place(context, builder, signature, values)
        builder.store_atomic(values[2], place, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(board, types.intp, types.intp), generate


@intrinsic
def _swap(context, board, place, old, new):
    """Change a number of an int64 array, if it is still the old one: ``lock cmpxchg`` (``cas``)."""

    def generate(context, builder, signature, values):
        place = _place(context, builder, signature, values)
        pair = builder.cmpxchg(place, values[2], values[3], "seq_cst", "seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(board, types.intp, types.intp, types.intp), generate


@intrinsic
def _count_up(context, board, place):
    """One more in an int64 array, with nobody in between: ``lock inc`` (``ldadd``)."""

    def generate(context, builder, signature, values):
        place = _place(context, builder, signature, values)
        builder.atomic_rmw("add", place, _INT64(1), "seq_cst")
        return context.get_dummy_value()

    return types.void(board, types.intp), generate


_YIELD = next((n for n in ("sched_yield", "SwitchToThread") if llvm.address_of_symbol(n)), None)


@intrinsic
def give_way(context):
    """Let another thread have this core, if one waits for it: a system call."""

    def generate(context, builder, signature, values):
        if _YIELD is not None:
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, _YIELD), [])
        return context.get_dummy_value()

    return types.void(), generate


LEFT, DONE, FAILED, PROGRAM, SAMPLES, PARTS = 0, 8, 16, 17, 18, 19
"""Places on the board of threads that run a program together: which program it is and how
many of its parts are left, how many are done, whether a kernel failed, the program's
address, its samples and its parts. The first three change while it runs, the first two
often: each has a line of the cache of its own."""

WORDS = 24
"""Words on a board, at least."""

_HALF = 32
"""Bits of a number of parts."""


def check(board):
    """Raise an error if a kernel has failed.

    Parameters
    ----------
    board : ndarray of int64
        Of the threads that ran the program.

    Raises
    ------
    RuntimeError
        If one of them says so.
    """
    if board[FAILED]:
        board[FAILED] = 0
        raise RuntimeError("a kernel failed; NUMBA_DISABLE_JIT=1 runs it in Python and says where")


LOOKS = 1000
"""Looks at a counter, a microsecond or less, after which a thread gives way."""


@inner
def parts_left(now):
    """How many parts nobody has taken yet, when the board says `now` at LEFT."""
    return now & ((1 << _HALF) - 1)


@compiled
def take_parts(board, worker):
    """Do parts of the program on the board until none is left.

    Whoever is free takes the next one, so a thread that has no core at the moment
    holds up nobody. A program stays in memory until all its parts are done, so only
    who has taken one may look at it.
    """
    now = look(board, LEFT)
    while parts_left(now) > 0:
        if _swap(board, LEFT, now, now - 1):
            part = board[PARTS] - parts_left(now)
            _do_part(board[PROGRAM], board[SAMPLES], part, worker, board)
            _count_up(board, DONE)
        now = look(board, LEFT)


@compiled
def work(address, samples, board):
    """Do a program with whoever else looks at the board; as ``Program.run_plainly``."""
    # Nobody else reads these places now: no part is left of the program before.
    parts = _all_parts(address, samples)
    board[PROGRAM], board[SAMPLES], board[PARTS] = address, samples, parts
    put(board, DONE, 0)
    number = (look(board, LEFT) >> _HALF) + 1
    put(board, LEFT, (number << _HALF) | parts)
    take_parts(board, np.int64(0))  # typed as a helper's number: compiled once for both
    _wait(board, parts)


@inner
def _wait(board, parts):
    """Wait until so many parts are done."""
    looks = 0
    while look(board, DONE) < parts:
        looks += 1
        if looks % LOOKS == 0:
            give_way()


@inner
def _count(address, place, samples):
    """How much a stage has to do."""
    count = _word(address, place)
    return samples if count < 0 else count


@inner
def _parts(address, place, samples):
    """How many parts a stage has."""
    chunk = _word(address, place + 1)
    return (_count(address, place, samples) + chunk - 1) // chunk


@inner
def _after(address, place):
    """Where the stage after that of a place begins."""
    return place + 3 + 2 * _word(address, place + 2)


@inner
def _all_parts(address, samples):
    """How many parts all stages have."""
    place, parts = 1, 0
    for _ in range(_word(address, 0)):
        parts += _parts(address, place, samples)
        place = _after(address, place)
    return parts


@inner
def _do_part(address, samples, number, worker, board):
    """Have every job of a stage do a part; parts are counted through all stages."""
    place, before = 1, 0
    while number >= before + _parts(address, place, samples):
        before += _parts(address, place, samples)
        place = _after(address, place)
    _wait(board, before)  # until all stages before this one are done
    part, chunk = number - before, _word(address, place + 1)
    first = part * chunk
    span = Span(first, min(first + chunk, _count(address, place, samples)), part, worker, samples)
    for job in range(_word(address, place + 2)):
        here = place + 3 + 2 * job
        if _call(_word(address, here), _word(address, here + 1), span):
            put(board, FAILED, 1)
