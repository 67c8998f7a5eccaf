"""Functions of Julia's Base that the sources call which `julia_subset` runs."""

import itertools
import math
import operator
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np


class Value:
    """`Val(x)`."""

    def __init__(self, value):
        self.value = value


class Reference:
    """`Ref(x)`: one value to broadcasting."""

    def __init__(self, value):
        self.value = value


def add_method(space, name, function, kinds):
    """A function with one more method; the first whose types fit is called."""
    old = space.get(name)
    methods = getattr(old, "methods", [])

    def call(*arguments, **keywords):
        for method, expected in call.methods:
            fits = len(expected) == len(arguments) and all(
                kind is None or _is_a(space, argument, kind)
                for argument, kind in zip(arguments, expected, strict=True)
            )
            if fits:
                return method(*arguments, **keywords)
        if callable(old) and not methods:
            return old(*arguments, **keywords)
        raise TypeError(f"no method of {name} for {len(arguments)} arguments")

    call.methods = [*methods, (function, kinds)]
    return call


def _is_a(space, value, kind):
    known = space.get(kind)
    if isinstance(known, type) and known.__module__ == "builtins" and kind[0].isupper():
        return isinstance(value, known)
    return not isinstance(known, type) or isinstance(value, known)


def at(array, index):
    """`array[index]`, counted from 1."""
    if isinstance(array, dict):
        return array[index[0]]
    found = tuple(_zero_based(i) for i in index)
    if isinstance(array, np.ndarray):
        value = array[found if len(found) > 1 else found[0]]
        return value.copy() if isinstance(value, np.ndarray) else value
    if isinstance(found[0], (list, np.ndarray)):
        return vector([array[i] for i in found[0]])
    return array[found[0]]


def put(array, index, value):
    """`array[index] = value`."""
    if isinstance(array, dict):
        array[index[0]] = value
        return
    found = tuple(_zero_based(i) for i in index)
    array[found if len(found) > 1 else found[0]] = value


def _zero_based(index):
    if isinstance(index, slice):
        return index
    if isinstance(index, range):
        if index.step == 1:
            if len(index) and index.start < 1:
                raise IndexError(index)
            return slice(index.start - 1, index.stop - 1)
        return np.array(index, int) - 1
    if isinstance(index, (list, np.ndarray)):
        return np.asarray(index, int) - 1
    if index < 1:
        raise IndexError(index)
    return int(index) - 1


def steps(first, *rest):
    """`first:last` or `first:step:last`."""
    step, last = (1, rest[0]) if len(rest) == 1 else rest
    return range(int(first), int(last) + (1 if step > 0 else -1), int(step))


def each(values):
    return values.items() if isinstance(values, dict) else values


def vector(values):
    """An array of numbers, or a list of whatever else."""
    if values and all(isinstance(v, (int, float, np.number)) for v in values):
        return np.array(values)
    return list(values)


def stacked(parts):
    return np.concatenate([np.atleast_1d(np.asarray(part)) for part in parts])


def grid(function, *axes):
    """A comprehension over several axes."""
    axes = [list(each(axis)) for axis in axes]
    out = np.empty([len(axis) for axis in axes], object)
    for place in np.ndindex(*out.shape):
        out[place] = function(*(axis[k] for axis, k in zip(axes, place, strict=True)))
    return out


def broadcast(function, *arguments):
    """`f.(arguments...)`, over the lengths of those that have one."""
    if all(not isinstance(a, (list, tuple, Reference, range, str, type)) for a in arguments):
        try:
            if any(isinstance(a, np.ndarray) and a.ndim for a in arguments):
                # A vector is a column.
                most = max(getattr(a, "ndim", 0) for a in arguments)
                return function(
                    *(a[:, None] if most > getattr(a, "ndim", 0) == 1 else a for a in arguments)
                )
        except (TypeError, ValueError):
            pass
    many = [a for a in arguments if isinstance(a, (list, tuple, np.ndarray, range))]
    if not many:
        return function(*(a.value if isinstance(a, Reference) else a for a in arguments))
    length = max(len(a) for a in many)
    columns = [
        [a.value] * length
        if isinstance(a, Reference)
        else list(a)
        if isinstance(a, (list, tuple, np.ndarray, range))
        else [a] * length
        for a in arguments
    ]
    found = [function(*row) for row in zip(*columns, strict=True)]
    return tuple(found) if all(isinstance(a, tuple) for a in many) else vector(found)


def times(a, b):
    if isinstance(a, str):
        return a + str(b)
    if getattr(a, "ndim", 0) and getattr(b, "ndim", 0):
        return a[:, None] @ b if (a.ndim, b.ndim) == (1, 2) else a @ b
    return a * b


def equal(a, b):
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return a == b


def transposed(value):
    return value[None] if value.ndim == 1 else value.T


def fold(function, start, values, init=None):
    total = init if init is not None else start
    for value in values:
        total = function(total, value)
    return total


def _sum(*arguments, init=0):
    function, values = arguments if len(arguments) == 2 else (lambda x: x, arguments[0])
    if isinstance(values, np.ndarray) and len(arguments) == 1:
        return values.sum()
    return fold(lambda a, b: a + function(b), init, values, init)


def _extreme(choose):
    def found(values, init=None):
        values = list(np.ravel(values) if isinstance(values, np.ndarray) else values)
        return choose([*values, init] if init is not None else values)

    return found


def _zeros(*arguments):
    kind = float
    if isinstance(arguments[0], (type, str)) or callable(arguments[0]):
        kind, *arguments = arguments
    if kind is svector:
        return np.zeros((*arguments, 3)) if len(arguments) == 1 else _vectors(*arguments)
    if kind is smatrix:
        return np.zeros((3, 3))
    return np.zeros(arguments, getattr(kind, "dtype", float))


def _vectors(*shape):
    out = np.empty(shape, object)
    for place in np.ndindex(*shape):
        out[place] = np.zeros(3)
    return out


def svector(*values):
    values = values[0] if len(values) == 1 else values
    return np.array(values, float)


def smatrix(*values):
    """Columns first, as Julia has them."""
    return np.array(values, float).reshape(3, 3).T


def view(array, *index):
    found = tuple(_zero_based(i) if not callable(i) else slice(None) for i in index)
    return array[found]


def text(value):
    return str(value)


class Pattern:
    def __init__(self, source):
        self.compiled = re.compile(source)


def _norm(value):
    return float(np.linalg.norm(value))


def _match(pattern, string):
    found = pattern.compiled.search(string)
    return None if found is None else [found[1]]


def _error(message):
    raise RuntimeError(message)


def _get(*arguments):
    if callable(arguments[0]):
        default, table, key = arguments
        return table[key] if key in table else default()
    table, key, default = arguments
    return table.get(key, default)


def _get_b(default, table, key):
    return table.setdefault(key, default())


def _ntuple(function, n):
    count = n.value if isinstance(n, Value) else n
    return tuple(function(k) for k in range(1, count + 1))


def _eachindex(values):
    return range(1, (values.size if isinstance(values, np.ndarray) else len(values)) + 1)


def _dictionary(*pairs):
    return dict(pairs[0] if len(pairs) == 1 and not isinstance(pairs[0], tuple) else pairs)


class NumberType:
    """A type of numbers, which converts to it where that is exact."""

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)

    def __call__(self, value):
        if isinstance(value, np.ndarray):
            found = value.astype(self.dtype)
            if self.dtype.kind in "iu" and (found != value).any():
                raise ValueError(value)
            return found
        if self.dtype.kind in "iu":
            if value != int(value):
                raise ValueError(value)
            return int(value)
        return float(value)


def _permutedims(array, order=None):
    return np.transpose(array, None if order is None else [k - 1 for k in order])


def _reshape(array, shape):
    return np.reshape(array, shape, order="F")


def _macro(source):
    """Types are only named; what calls C is for Julia alone."""
    if not source.startswith("@NamedTuple"):
        raise NotImplementedError(source)


RUNTIME = {
    "jl_add_method": add_method,
    "jl_at": at,
    "jl_put": put,
    "jl_steps": steps,
    "jl_each": each,
    "jl_vector": vector,
    "jl_stacked": stacked,
    "jl_grid": grid,
    "jl_broadcast": broadcast,
    "jl_times": times,
    "jl_equal": equal,
    "jl_transposed": transposed,
    "jl_text": text,
    "jl_pattern": Pattern,
    "jl_named": lambda **fields: SimpleNamespace(**fields),
    "jl_not": operator.not_,
    "jl_operators": {"==": lambda b: lambda a: a == b, ":": slice(None)},
    "inf": math.inf,
    "nothing": None,
    "π": math.pi,
    "SVector": svector,
    "SMatrix": smatrix,
    "Val": Value,
    "Ref": Reference,
    "Int": NumberType("i8"),
    "Float64": NumberType("f8"),
    **{
        f"{a}{8 * n}": NumberType(f"{b}{n}")
        for a, b in (("Int", "i"), ("UInt", "u"))
        for n in (1, 2, 4, 8)
    },
    "Float32": NumberType("f4"),
    "sizeof": lambda kind: kind.dtype.itemsize,
    "ltoh": lambda value: value,
    "only": lambda values: values[0].item(),
    "reinterpret": lambda kind, values: np.frombuffer(np.ascontiguousarray(values), kind.dtype),
    "max": max,
    "read": lambda path: np.frombuffer(Path(path).read_bytes(), np.uint8),
    "String": lambda x: x.tobytes().decode("latin1") if isinstance(x, np.ndarray) else str(x),
    "Symbol": str,
    "Tuple": tuple,
    "Dict": _dictionary,
    "sum": _sum,
    "prod": lambda values, init=1: fold(operator.mul, init, values, init),
    "maximum": _extreme(max),
    "minimum": _extreme(min),
    "zeros": _zeros,
    "zero": np.zeros_like,
    "norm": _norm,
    "dot": lambda a, b: float(np.dot(a, b)),
    "inv": np.linalg.inv,
    "abs2": np.square,
    "floatmin": lambda: float(np.finfo(float).tiny),
    "range": lambda first, last, length: np.linspace(first, last, length),
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "isqrt": lambda n: math.isqrt(int(n)),
    "clamp": lambda x, a, b: min(max(x, a), b),
    "floor": lambda *x: math.floor(x[1]) if len(x) == 2 else float(math.floor(x[0])),
    "ceil": lambda kind, x: math.ceil(x),
    "fld": lambda a, b: int(a // b),
    "length": len,
    "typeof": type,
    "nameof": lambda kind: kind.__name__,
    "size": lambda a, k=None: a.shape if k is None else a.shape[k - 1],
    "axes": lambda a, k: range(1, a.shape[k - 1] + 1),
    "eachindex": _eachindex,
    "enumerate": lambda values: enumerate(each(values), 1),
    "ntuple": _ntuple,
    "map": lambda function, values: type(values)(function(value) for value in values),
    "collect": lambda values: values if isinstance(values, np.ndarray) else list(values),
    "cumsum": lambda values: np.cumsum(np.asarray(values, int)),
    "argmax": lambda values: int(np.argmax(values)) + 1,
    "first": lambda values: values[0],
    "push_b": lambda values, item: values.append(item),
    "sort_b": lambda values: sorted(values),
    "keys": lambda table: table.keys(),
    "haskey": lambda table, key: key in table,
    "get": _get,
    "get_b": _get_b,
    "iszero": lambda value: value == 0,
    "isnothing": lambda value: value is None,
    "isempty": lambda values: len(values) == 0,
    "view": view,
    "match": _match,
    "eachmatch": lambda p, s: [SimpleNamespace(match=m[0]) for m in p.compiled.finditer(s)],
    "parse": lambda kind, string: int(string),
    "codeunits": lambda string: np.frombuffer(string.encode(), np.uint8),
    "chopsuffix": lambda string, end: string.removesuffix(end),
    "reverse": lambda values: values[::-1],
    "vec": lambda array: np.ravel(array, order="F"),
    "permutedims": _permutedims,
    "reshape": _reshape,
    "error": _error,
    "Iterators": SimpleNamespace(product=itertools.product),
    "jl_macro": _macro,
}
