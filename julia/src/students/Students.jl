"""
Students of distill without Python and without ACEpotentials: `student.npz` evaluated in Julia, or by
the shared library of the C interface, as calculators of AtomsCalculators.jl.
"""
module Students

import AtomsBase
import AtomsCalculators
import JSON
import Libdl
import SHA

using LinearAlgebra: dot, norm
using StaticArrays: SMatrix, SVector
using Unitful: @u_str, ustrip
using Zlib_jll: libz

include("npz.jl")
include("neighbours.jl")
include("core.jl")
include("site.jl")
include("student.jl")
include("library.jl")
include("calculator.jl")
include("load.jl")

end
