"""
Every call that `distill` makes into ACEpotentials.jl: build the model, fit it, evaluate it,
export it. Plain arrays go in and come out; units are eV and Å throughout.

The functions called from Python are `versions`, `build_model`, `describe`, `least_squares`,
`factored_least_squares`, `assemble!`, `weighted_rows`, `solve!`, `set_parameters!`, `export_arrays`,
`evaluate`, `energies`, `time_calls`, `save` and `load`.

Users of Julia load a student, `DistillACE.load("student.npz")`, as a calculator of AtomsCalculators.
"""
module DistillACE

import ACEpotentials
import AtomsBase
import AtomsCalculators
import JSON
import PrecompileTools
import Random

using LinearAlgebra: BLAS, PosDefException, SingularException, diag, dot, norm, svd
using SparseArrays: findnz
using StaticArrays: SMatrix, SVector
using Unitful: @u_str, ustrip

const ACEfit = ACEpotentials.ACEfit
const M = ACEpotentials.Models
const EquivariantTensors = M.EquivariantTensors

include("students/Students.jl")
using .Students: add_site!, load_student, load_tables

include("basis.jl")
include("structures.jl")
include("fit.jl")
include("evidence.jl")
include("solvers.jl")
include("evaluate.jl")
include("export.jl")
include("files.jl")
include("precompile.jl")

end
