# The ZBL core that a student may stand on (Ziegler, Biersack, Littmark, The Stopping and Range of
# Ions in Solids (1985)), taken to zero at the sum of the covalent radii.

# e² / (4 pi eps0), eV Å; a0, Å (CODATA 2014).
const COULOMB = 14.399645351950548
const BOHR = 0.5291772105638411
const SCREENING = ((0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162))
# Å, of the elements from hydrogen on (Cordero et al., Dalton Trans. 2008, 2832).
const COVALENT_RADII = [
    0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66, 0.57, 0.58, 1.66, 1.41, 1.21, 1.11,
    1.07, 1.05, 1.02, 1.06, 2.03, 1.76, 1.7, 1.6, 1.53, 1.39, 1.39, 1.32, 1.26, 1.24,
    1.32, 1.22, 1.22, 1.2, 1.19, 1.2, 1.2, 1.16, 2.2, 1.95, 1.9, 1.75, 1.64, 1.54, 1.47,
    1.46, 1.42, 1.39, 1.45, 1.44, 1.42, 1.39, 1.39, 1.38, 1.39, 1.4, 2.44, 2.15, 2.07,
    2.04, 2.03, 2.01, 1.99, 1.98, 1.98, 1.96, 1.94, 1.92, 1.92, 1.89, 1.9, 1.87, 1.87,
    1.75, 1.7, 1.62, 1.51, 1.44, 1.41, 1.36, 1.36, 1.32, 1.45, 1.46, 1.48, 1.4, 1.5, 1.5,
    2.6, 2.21, 2.15, 2.06, 2, 1.96, 1.9, 1.87, 1.8, 1.69,
]

"""
    core_parameters(a, b)

Prefactor (eV Å), screening length and end (Å) of the core of two atomic numbers.
"""
function core_parameters(a, b)
    max(a, b) <= length(COVALENT_RADII) || error("there is no ZBL core of element $(max(a, b))")
    len = 0.8854 * BOHR / (a^0.23 + b^0.23)
    return (COULOMB * a * b, len, COVALENT_RADII[a] + COVALENT_RADII[b])
end

"""
    core_energy(parameters, r)

Half the core's energy at distance `r`, and its slope; no core has prefactor 0.
"""
function core_energy(parameters, r)
    prefactor, len, last = parameters
    prefactor > 0 && r < last || return 0.0, 0.0
    screening, change = 0.0, 0.0
    for (amplitude, decay) in SCREENING
        part = amplitude * exp(-decay * r / len)
        screening += part
        change -= part * decay / len
    end
    x = r / last
    switch = 1 - 28 * x^6 + 48 * x^7 - 21 * x^8
    switch_change = -168 * x^5 * (1 - x)^2 / last
    value = prefactor / (2 * r) * screening * switch
    slope = prefactor / (2 * r) * (change * switch + screening * switch_change) - value / r
    return value, slope
end
