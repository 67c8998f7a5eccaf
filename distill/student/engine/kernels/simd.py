"""Eight-lane vectors of doubles for Numba kernels.

Numba leaves vectorising to LLVM's loop vectoriser, which gives up on loops that may alias or are
short, as all loops of an ACE evaluation are. Here a lane vector is a value of its own (an LLVM
`<8 x double>`), so every operation below is one instruction with AVX-512, two with AVX2 and four
with SSE2 or NEON. Arrays are one-dimensional float64; indices count doubles.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.core.extending import register_model
from numba.extending import intrinsic, overload

from distill.student.engine.kernels.kernel_arguments import LANES

_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_INDEX = ir.VectorType(ir.IntType(32), LANES)
_FLAGS = ("contract", "nsz", "arcp")


# What a kernel calls a vector of eight doubles; Python has no such value.
Lanes: TypeAlias = Any

# Kernels call an intrinsic without the typing context that its definition begins with.
_intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = intrinsic


class LanesType(types.Type):
    """Numba's name of a vector of eight doubles."""

    def __init__(self) -> None:
        super().__init__(name="Lanes8")


lanes_type = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: types.Type) -> None:
        super().__init__(manager, fe_type, _VECTOR)


def _call(builder: Any, name: str, *arguments: Any) -> Any:
    """Call the LLVM intrinsic `name` on vectors."""
    function_type = ir.FunctionType(_VECTOR, [_VECTOR] * len(arguments))
    full_name = f"llvm.{name}.v{LANES}f64"
    function = builder.module.globals.get(full_name)
    if function is None:
        function = ir.Function(builder.module, function_type, full_name)
    return builder.call(function, arguments)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index], inbounds=True), _VECTOR.as_pointer())


@_intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """The eight doubles of a 1-D contiguous array that start at `index`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.load(pointer, align=8)

    return lanes_type(array, types.intp), codegen


@_intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write eight doubles to a 1-D contiguous array from `index` on."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        builder.store(arguments[2], pointer, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes_type), codegen


@_intrinsic
def splat(typingctx: Any, value: Any) -> Any:
    """A vector whose lanes all hold `value`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0])

    return lanes_type(types.float64), codegen


def _splat(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_INDEX, [0] * LANES))


@_intrinsic
def load_splat(typingctx: Any, array: Any, index: Any) -> Any:
    """A vector whose lanes all hold the double at `index`, without Numba's check of its sign."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        value = builder.load(builder.gep(data, [arguments[1]], inbounds=True))
        return _splat(builder, value)

    return lanes_type(array, types.intp), codegen


@_intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, lane by lane, rounded once."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "fma", *arguments)

    return lanes_type(lanes_type, lanes_type, lanes_type), codegen


@_intrinsic
def total(typingctx: Any, a: Any) -> Any:
    """Sum of the lanes, pairwise, always in the same order."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = arguments[0]
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        for step in (4, 2, 1):
            order = [(i + step) % LANES for i in range(LANES)]
            other = builder.shuffle_vector(value, undefined, ir.Constant(_INDEX, order))
            value = builder.fadd(value, other)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return types.float64(lanes_type), codegen


@_intrinsic
def transpose(typingctx: Any, rows: Any) -> Any:
    """Transpose eight vectors given and returned as a tuple."""
    tuple_type = types.UniTuple(lanes_type, LANES)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from numba.core import cgutils

        values = cgutils.unpack_tuple(builder, arguments[0], LANES)
        for step in (4, 2, 1):
            values = _exchange(builder, values, step)
        return context.make_tuple(builder, tuple_type, values)

    return tuple_type(tuple_type), codegen


def _exchange(builder: Any, values: list[Any], step: int) -> list[Any]:
    """One butterfly of the transposition: swap off-diagonal blocks of size `step`."""
    low = [(i - step if i & step else i) + (LANES if i & step else 0) for i in range(LANES)]
    high = [(i if i & step else i + step) + (LANES if i & step else 0) for i in range(LANES)]
    out = list(values)
    for i in range(LANES):
        if not i & step:
            a, b = values[i], values[i + step]
            out[i] = builder.shuffle_vector(a, b, ir.Constant(_INDEX, low))
            out[i + step] = builder.shuffle_vector(a, b, ir.Constant(_INDEX, high))
    return out


def _unary(name: str) -> Any:
    @_intrinsic
    def operation(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _call(builder, name, arguments[0])

        return lanes_type(lanes_type), codegen

    return operation


def _extremum(name: str) -> Any:
    @_intrinsic
    def operation(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _call(builder, name, *arguments)

        return lanes_type(lanes_type, lanes_type), codegen

    return operation


square_root = _unary("sqrt")
floor = _unary("floor")
smaller = _extremum("minnum")
larger = _extremum("maxnum")


def _arithmetic(python_operator: Any, instruction: str) -> None:
    """Define `python_operator` between lane vectors, and with a scalar on either side."""

    @_intrinsic
    def operation(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments, flags=_FLAGS)

        return lanes_type(lanes_type, lanes_type), codegen

    @overload(python_operator, strict=False)
    def lanes_operator(a: Any, b: Any) -> Any:
        left, right = isinstance(a, LanesType), isinstance(b, LanesType)
        if left and right:
            return lambda a, b: operation(a, b)
        if left and isinstance(b, types.Number):
            return lambda a, b: operation(a, splat(float(b)))
        if right and isinstance(a, types.Number):
            return lambda a, b: operation(splat(float(a)), b)
        return None


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")
