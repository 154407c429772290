"""Sums, powers of two and rows that use the width of the machine, always in the same order.

Results are the same bits on every machine, however wide its registers are: no kernel here lets the
compiler reorder a sum (no `fastmath`), and the one sum that matters, `dot`, says its own order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba.core import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

LANES = 16
"""Numbers that `dot` adds side by side; rows are padded to a multiple of it."""

_njit: Any = numba.njit
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
_LN2 = float(np.log(2.0))
_C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12 = (
    float(term) for term in np.cumprod(_LN2 / np.arange(1.0, 13.0))
)
_ROUNDER = 1.5 * 2.0**52
"""Added to a number and subtracted again it leaves the nearest integer."""


KERNELS = (
    "bench",
    "descent",
    "evaluation",
    "faddeeva",
    "lanes",
    "normal_equations",
    "profiles",
    "series",
    "state",
)
"""Modules whose code or constants are compiled into kernels."""


def _version() -> str:
    """Return a name for the present state of the sources of all kernels."""
    digest = hashlib.sha256()
    for module in KERNELS:
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    return digest.hexdigest()[:12]


VERSION = _version()


def kernel(function: Function) -> Function:
    """Compile a kernel: free of the interpreter's lock, kept on disk, deterministic.

    Divisions by zero give infinity, as in numpy, so that loops have no branch. What numba keeps is
    looked up by the file of the function alone; its name therefore says which kernels it calls.
    """
    function.__qualname__ = f"{function.__qualname__}_{VERSION}"
    compiled: Function = _njit(nogil=True, cache=True, error_model="numpy")(function)
    return compiled


def inner(function: Function) -> Function:
    """Compile a kernel that only kernels call: nothing is built for calls from Python."""
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiled: Function = _njit(nogil=True, error_model="numpy", **options)(function)
    return compiled


def inlined(function: Function) -> Function:
    """Compile a kernel into those that call it, so that their loops stay simple."""
    compiled: Function = _njit(inline="always", nogil=True, error_model="numpy")(function)
    return compiled


def _emitted(function: Callable[..., Any]) -> Any:
    """Make an instruction of kernels of a function that writes its code."""
    return intrinsic(function)


def padded(points: int) -> int:
    """Return the length of a row that holds so many points.

    >>> padded(100), padded(112)
    (112, 112)
    """
    return -(-points // LANES) * LANES


@_emitted
def _bits(_context: Any, number: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), generate


@_emitted
def _number(_context: Any, bits: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), generate


@_emitted
def _fused(_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a b + c, rounded once on every machine."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float64(types.float64, types.float64, types.float64), generate


@inlined
def power_of_two(z: float) -> float:
    """Return 2**z for -1000 <= z <= 1000 (below: 2**-1000), to some 2e-16, without a branch.

    The integer part goes into the exponent of the number, the rest into a Taylor series; the
    compiler can do several at once, which it cannot with a call of the mathematical library.
    """
    z = max(z, -1000.0)
    rounded = z + _ROUNDER
    f = z - (rounded - _ROUNDER)
    p: float = _fused(f, _C12, _C11)
    p = _fused(f, p, _C10)
    p = _fused(f, p, _C9)
    p = _fused(f, p, _C8)
    p = _fused(f, p, _C7)
    p = _fused(f, p, _C6)
    p = _fused(f, p, _C5)
    p = _fused(f, p, _C4)
    p = _fused(f, p, _C3)
    p = _fused(f, p, _C2)
    p = _fused(f, p, _C1)
    p = _fused(f, p, 1.0)
    scaled: float = _number(_bits(p) + (_bits(rounded) << 52))
    return scaled


@_emitted
def dot(_context: Any, left: Any, row: Any, right: Any, column: Any) -> Any:
    """Return the sum of left[row] * right[column], rows of a multiple of `LANES` numbers.

    Sixteen sums run side by side and are added in pairs at the end.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = context.make_array(signature.args[0])(context, builder, args[0])
        second = context.make_array(signature.args[2])(context, builder, args[2])
        size = builder.extract_value(first.shape, 1)
        starts = [
            builder.gep(array.data, [builder.mul(at, size)])
            for array, at in ((first, args[1]), (second, args[3]))
        ]
        return _halved(builder, _products(builder, starts, size))

    return types.float64(left, types.intp, right, types.intp), generate


def _products(builder: Any, starts: list[Any], size: Any) -> Any:
    """Write the loop that adds products of `LANES` numbers at a time to as many sums."""
    entry, loop = builder.block, builder.append_basic_block("dot.loop")
    done = builder.append_basic_block("dot.done")
    builder.branch(loop)
    builder.position_at_end(loop)
    at, total = builder.phi(size.type), builder.phi(_DOUBLES)
    at.add_incoming(size.type(0), entry)
    total.add_incoming(ir.Constant(_DOUBLES, None), entry)
    parts = []
    for start in starts:
        place = builder.bitcast(builder.gep(start, [at]), _DOUBLES.as_pointer())
        parts.append(builder.load(place, align=8))
    summed = builder.fadd(total, builder.fmul(*parts))
    following = builder.add(at, size.type(LANES))
    at.add_incoming(following, loop)
    total.add_incoming(summed, loop)
    builder.cbranch(builder.icmp_signed("<", following, size), loop, done)
    builder.position_at_end(done)
    return summed


def _halved(builder: Any, sums: Any) -> Any:
    """Write the additions of the upper half to the lower half until one number is left."""
    width, index = LANES, ir.IntType(32)
    while width > 1:
        width //= 2
        half = ir.VectorType(index, width)
        lower, upper = (
            builder.shuffle_vector(
                sums,
                ir.Constant(sums.type, ir.Undefined),
                ir.Constant(half, list(range(start, start + width))),
            )
            for start in (0, width)
        )
        sums = builder.fadd(lower, upper)
    return builder.extract_element(sums, index(0))
