"""
Every call that `distill` makes into ACEpotentials.jl: build the model, fit it, evaluate it,
export it. Plain arrays go in and come out; units are eV and Å throughout.

The functions called from Python are `versions`, `build_model`, `describe`, `least_squares`,
`assemble!`, `solve!`, `set_parameters!`, `export_arrays`, `evaluate`, `energies`, `time_calls`,
`save` and `load`.
"""
module DistillACE

import ACEpotentials
import AtomsBase
import AtomsCalculators
import JSON
import Random

using LinearAlgebra: BLAS, PosDefException, SingularException, diag, dot, norm
using SparseArrays: findnz
using StaticArrays: SMatrix, SVector
using Unitful: @u_str, ustrip

const ACEfit = ACEpotentials.ACEfit
const M = ACEpotentials.Models
const EquivariantTensors = M.EquivariantTensors

include("basis.jl")
include("structures.jl")
include("fit.jl")
include("solvers.jl")
include("evaluate.jl")
include("export.jl")
include("files.jl")

end
