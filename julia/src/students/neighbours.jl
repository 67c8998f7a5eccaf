"""
    Neighbours

All neighbours of a structure's atoms: those of atom i are the entries `first[i]:(first[i + 1] - 1)`
of `atoms`, at `vectors` from it, Å.
"""
struct Neighbours
    first::Vector{Int}
    atoms::Vector{Int}
    vectors::Vector{SVector{3, Float64}}
end

# Bins of a direction at most: a wide empty cell needs no more.
const MOST_BINS = 64

"""
    neighbours_within(cutoff, positions, cell, periodic)

All neighbours within `cutoff`, images included, by linked cells (Allen & Tildesley, Computer
Simulation of Liquids, section 5.3.2). Cells may be smaller than the cutoff.

# Arguments
- `cutoff`: Å
- `positions`: vectors, Å
- `cell`: three cell vectors, Å; those of directions that are not periodic do not count
- `periodic`: of each direction
"""
function neighbours_within(cutoff, positions, cell, periodic)
    a, b, c = full_cell(cell, periodic)
    basis = SMatrix{3, 3, Float64}(a..., b..., c...)
    inverse = inv(basis)
    scaled = [inverse * r for r in positions]
    low = ntuple(k -> periodic[k] ? 0.0 : minimum(s[k] for s in scaled; init = Inf), 3)
    high = ntuple(k -> periodic[k] ? 1.0 : maximum(s[k] for s in scaled; init = -Inf), 3)
    # The vector of an open direction has unit length, so its extent is a length.
    width = ntuple(k -> max(high[k] - low[k], 0.0) / norm(inverse[k, :]), 3)
    bins = ntuple(k -> clamp(floor(Int, width[k] / cutoff), 1, MOST_BINS), 3)
    reach = ntuple(k -> bins_in_reach(cutoff, width[k], bins[k], periodic[k]), 3)
    places = [bin_of(s, low, high, bins, periodic) for s in scaled]
    folded = [positions[i] - basis * floor_of(scaled[i], periodic) for i in eachindex(positions)]
    members = Dict{NTuple{3, Int}, Vector{Int}}()
    for (i, place) in enumerate(places)
        push!(get!(() -> Int[], members, place), i)
    end
    found = Neighbours(Int[1], Int[], SVector{3, Float64}[])
    for i in eachindex(positions)
        for step in Iterators.product(map(r -> (-r):r, reach)...)
            place = places[i] .+ step
            image = ntuple(k -> periodic[k] ? fld(place[k], bins[k]) : 0, 3)
            others = get(members, place .- image .* bins, nothing)
            isnothing(others) && continue
            offset = basis * SVector{3, Float64}(image) - folded[i]
            add_neighbours!(found, i, others, folded, offset, image, cutoff)
        end
        push!(found.first, length(found.atoms) + 1)
    end
    return found
end

function add_neighbours!(found, i, others, folded, offset, image, cutoff)
    for j in others
        j == i && iszero(sum(abs, image)) && continue
        vector = folded[j] + offset
        distance = norm(vector)
        distance < cutoff || continue
        distance > 0 || error("atoms $i and $j coincide")
        push!(found.atoms, j)
        push!(found.vectors, vector)
    end
    return nothing
end

function bins_in_reach(cutoff, width, bins, is_periodic)
    is_periodic && return ceil(Int, cutoff * bins / width)
    return bins == 1 ? 0 : min(ceil(Int, cutoff * bins / width), bins - 1)
end

function floor_of(scaled, periodic)
    return SVector{3, Float64}(ntuple(k -> periodic[k] ? floor(scaled[k]) : 0.0, 3))
end

"""
    bin_of(scaled, low, high, bins, periodic)

The bin of a place in units of the cell, each number from 0.
"""
function bin_of(scaled, low, high, bins, periodic)
    return ntuple(3) do k
        bins[k] == 1 && return 0
        place = periodic[k] ? scaled[k] - floor(scaled[k]) : scaled[k] - low[k]
        # A place just below a face is rounded up to it.
        clamp(floor(Int, place / (high[k] - low[k]) * bins[k]), 0, bins[k] - 1)
    end
end

"""
    full_cell(cell, periodic)

Three cell vectors, those of open directions of unit length and normal to all others.
"""
function full_cell(cell, periodic)
    axes = [SVector(1.0, 0.0, 0.0), SVector(0.0, 1.0, 0.0), SVector(0.0, 0.0, 1.0)]
    vectors = [SVector{3, Float64}(periodic[k] ? cell[k] : zero(axes[k])) for k in 1:3]
    normals = SVector{3, Float64}[]
    for k in 1:3
        periodic[k] && push!(normals, unit_vector(without(vectors[k], normals)))
    end
    for k in 1:3
        periodic[k] && continue
        candidates = [without(axis, normals) for axis in axes]
        vectors[k] = unit_vector(candidates[argmax(norm.(candidates))])
        push!(normals, vectors[k])
    end
    return vectors
end

unit_vector(vector) = vector / norm(vector)

without(vector, normals) = vector - sum((dot(n, vector) * n for n in normals); init = zero(vector))
