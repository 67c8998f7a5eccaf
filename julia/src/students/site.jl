# One site of a linear ACE model (Drautz, Phys. Rev. B 99, 014104 (2019)): its energy and the gradient
# with respect to the vectors to its neighbours, by the chain rule from the products inwards.

"""
    site_energy(student, centre, kinds, vectors)

Energy of a site (eV) and its gradient with respect to the neighbour vectors (eV/Å).

# Arguments
- `centre`, `kinds`: species of the site and of its neighbours, counted from 1
- `vectors`: to the neighbours, Å
"""
function site_energy(student, centre, kinds, vectors)
    n, harmonics = length(kinds), (student.largest_l + 1)^2
    R, dR = zeros(student.n_radial, n), zeros(student.n_radial, n)
    Y, dY = zeros(harmonics, n), zeros(SVector{3, Float64}, harmonics, n)
    A = zeros(length(student.radial_index))
    adjoint = zero(A)
    energy = student.e0[centre]
    slopes = zeros(n)
    for j in 1:n
        r = norm(vectors[j])
        r < student.cutoffs[centre, kinds[j]] || continue
        embed!(view(R, :, j), view(dR, :, j), student, centre, kinds[j], r)
        solid_harmonics!(view(Y, :, j), view(dY, :, j), student.norms, vectors[j] / r)
        value, slopes[j] = pair_energy(student, centre, kinds[j], r)
        energy += value
        for k in eachindex(A)
            A[k] += R[student.radial_index[k], j] * Y[student.angular_index[k], j]
        end
    end
    energy += products!(adjoint, A, student.products, student.weights[centre])
    gradients = [
        neighbour_gradient(student, adjoint, view(R, :, j), view(dR, :, j), view(Y, :, j),
            view(dY, :, j), slopes[j], vectors[j]) for j in 1:n
    ]
    return energy, gradients
end

"""
    add_site!(forces, i, js, rs, gradient)

Add the forces of site i's energy, whose gradient with respect to the neighbour vectors `rs` is
given, and return its virial, -Σ gradient ⊗ r.
"""
function add_site!(forces, i, js, rs, gradient)
    virial = zeros(SMatrix{3, 3, Float64})
    for (j, r, g) in zip(js, rs, gradient)
        forces[j] -= g
        forces[i] += g
        virial -= g * r'
    end
    return virial
end

function neighbour_gradient(student, adjoint, R, dR, Y, dY, slope, vector)
    r = norm(vector)
    direction = vector / r
    angular = zero(direction)
    for k in eachindex(adjoint)
        n, y = student.radial_index[k], student.angular_index[k]
        slope += adjoint[k] * dR[n] * Y[y]
        angular += adjoint[k] * R[n] * dY[y]
    end
    # The harmonics depend on the direction alone.
    return slope * direction + (angular - dot(angular, direction) * direction) / r
end

"""
    products!(adjoint, A, products, weights)

The weighted sum of products of `A`, whose slopes by `A` are added to `adjoint`.
"""
function products!(adjoint, A, products, weights)
    energy = 0.0
    for (block, block_weights) in zip(products, weights), p in axes(block, 2)
        weight = block_weights[p]
        iszero(weight) && continue
        for k in axes(block, 1)
            rest = weight
            for m in axes(block, 1)
                m == k || (rest *= A[block[m, p]])
            end
            adjoint[block[k, p]] += rest
            k == 1 && (energy += rest * A[block[1, p]])
        end
    end
    return energy
end

"""
    embed!(R, dR, student, centre, kind, r)

The radial functions of a pair of species at distance `r`, and their slopes.
"""
function embed!(R, dR, student, centre, kind, r)
    x, dx = agnesi(student.transform[centre, kind], r)
    value, slope = envelope(student.envelope[centre, kind], x)
    interval, weights, changes = spline_weights(student.grid, x)
    coefficients = student.splines[centre, kind]
    for n in eachindex(R)
        spline, change = 0.0, 0.0
        for k in 1:4
            spline += weights[k] * coefficients[n, interval + k]
            change += changes[k] * coefficients[n, interval + k]
        end
        R[n] = spline * value
        dR[n] = (change * value + spline * slope) * dx
    end
    return nothing
end

"""
    agnesi(parameters, r)

The normalised Agnesi transform and its slope; parameters (p, q, a, r_in, r0, y_in, y_cut).
"""
function agnesi(parameters, r)
    p, q, a, inner, r0, y_in, y_cut = parameters
    s = max((r - inner) / (r0 - inner), 0.0)
    low, high = s^Int(q - p), s^Int(q - 1)
    inverse = 1 / (1 + low + a * high * s)
    stretch = 2 / (y_cut - y_in)
    x = stretch * ((1 + low) * inverse - y_in) - 1
    slope = -stretch * a * high * inverse^2 * (q * (1 + low) - (q - p) * low) / (r0 - inner)
    return clamp(x, -1.0, 1.0), slope
end

"""
    envelope(parameters, x)

s (x - x1)^p1 (x2 - x)^p2 between x1 and x2, and its slope; zero outside.
"""
function envelope(parameters, x)
    x1, x2, p1, p2, scale = parameters
    x1 < x < x2 || return 0.0, 0.0
    low, high = (x - x1)^Int(p1), (x2 - x)^Int(p2)
    return scale * low * high, scale * low * high * (p1 / (x - x1) - p2 / (x2 - x))
end

"""
    spline_weights(grid, x)

The interval of a uniform cubic B-spline, counted from 0, its four weights and their slopes by x.
"""
function spline_weights(grid, x)
    position = (x - grid.start) / grid.step
    interval = clamp(floor(Int, position), 0, grid.nodes - 2)
    t = position - interval
    u = 1 - t
    weights = (u^3, 4 - 6 * t^2 + 3 * t^3, 4 - 6 * u^2 + 3 * u^3, t^3) ./ 6
    changes = (-3 * u^2, -12 * t + 9 * t^2, 12 * u - 9 * u^2, 3 * t^2) ./ (6 * grid.step)
    return interval, weights, changes
end

"""
    pair_energy(student, centre, kind, r)

Half the pair potential of two species, with the core where there is one, and its slope: the share
of the site in the middle.
"""
function pair_energy(student, centre, kind, r)
    value, slope = core_energy(student.core[centre, kind], r)
    cutoff, r0, p = student.pair_envelope[centre, kind]
    r < cutoff || return value, slope
    s, end_s = r / r0, cutoff / r0
    shape = s^-p - end_s^-p + p * end_s^(-p - 1) * (s - end_s)
    change = p * (end_s^(-p - 1) - s^(-p - 1)) / r0
    x, dx = agnesi(student.pair_transform[centre, kind], r)
    interval, weights, changes = spline_weights(student.pair_grid, x)
    coefficients = student.pair_splines[centre, kind]
    spline = sum(weights[k] * coefficients[interval + k] for k in 1:4)
    spline_change = sum(changes[k] * coefficients[interval + k] for k in 1:4)
    return value + spline * shape, slope + spline_change * dx * shape + spline * change
end

"""
    solid_harmonics!(Y, dY, norms, u)

Real spherical harmonics of a unit vector, orthonormal and without the phase of Condon and Shortley,
at l² + l + m + 1, and their gradients as polynomials in u.

With (x + i y)^m = C + i S they are norm d^m P_l / dz^m times C for m ≥ 0 and S for m < 0.
"""
function solid_harmonics!(Y, dY, norms, u)
    x, y, z = u
    largest = isqrt(length(Y)) - 1
    # One column more than there are harmonics: the slope of a derivative is the next derivative.
    Q = zeros(largest + 1, largest + 3)
    for m in 0:largest
        Q[m + 1, m + 1] = m == 0 ? 1.0 : (2 * m - 1) * Q[m, m]
        for l in (m + 1):largest
            below = l > m + 1 ? Q[l - 1, m + 1] : 0.0
            Q[l + 1, m + 1] = ((2 * l - 1) * z * Q[l, m + 1] - (l + m - 1) * below) / (l - m)
        end
    end
    C, S, C_before, S_before = 1.0, 0.0, 0.0, 0.0
    for m in 0:largest
        for l in m:largest
            q, dq = Q[l + 1, m + 1], Q[l + 1, m + 2]
            at = l^2 + l + 1
            norm_lm = norms[l + 1, m + 1]
            Y[at + m] = norm_lm * q * C
            dY[at + m] = norm_lm * SVector(m * q * C_before, -m * q * S_before, dq * C)
            m == 0 && continue
            Y[at - m] = norm_lm * q * S
            dY[at - m] = norm_lm * SVector(m * q * S_before, m * q * C_before, dq * S)
        end
        C, S, C_before, S_before = x * C - y * S, x * S + y * C, C, S
    end
    return nothing
end

"""
    harmonic_norms(largest)

The norms of the harmonics up to l = `largest`, at [l + 1, m + 1].
"""
function harmonic_norms(largest)
    norms = zeros(largest + 1, largest + 1)
    for l in 0:largest, m in 0:l
        share = prod((1 / k for k in (l - m + 1):(l + m)); init = 1.0)
        norms[l + 1, m + 1] = sqrt((m == 0 ? 1 : 2) * (2 * l + 1) / (4π) * share)
    end
    return norms
end
