"""Files of other programs: no element is invented, and no unconverged step is a label."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from distill.core.errors import UserError
from distill.data.electronic_convergence import unconverged_steps
from distill.data.structure_files import read_structure
from distill.data.structures import read_structures, reference_energy, reference_forces

DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
0 5
0 5
0 5
ITEM: ATOMS id {columns} x y z
1 {first} 0 0 0
2 {second} 2 2 2
"""
STEP = """<calculation>{cycles}
<structure><crystal><varray name="basis"><v>4 0 0</v><v>0 4 0</v><v>0 0 4</v></varray></crystal>
<varray name="positions"><v>0 0 0</v><v>0.5 0.5 {place}</v></varray></structure>
<varray name="forces"><v>0 0 0.5</v><v>0 0 -0.5</v></varray>
<varray name="stress"><v>1 0 0</v><v>0 1 0</v><v>0 0 1</v></varray>
<energy><i name="e_fr_energy">{energy}</i><i name="e_wo_entrp">{energy}</i>
<i name="e_0_energy">{energy}</i></energy></calculation>
"""
LEARNT = STEP.format(cycles="", place=0.6, energy=-7.0)
PW_HEAD = """
     Program PWSCF v.7.2 starts on  1Jan2024 at 10: 0: 0

     lattice parameter (alat)  =       6.8000  a.u.
     number of atoms/cell      =            2
     number of atomic types    =            1
     celldm(1)=   6.800000  celldm(2)=   0.000000  celldm(3)=   0.000000
     celldm(4)=   0.000000  celldm(5)=   0.000000  celldm(6)=   0.000000
     crystal axes: (cart. coord. in units of alat)
               a(1) = (   1.000000   0.000000   0.000000 )
               a(2) = (   0.000000   1.000000   0.000000 )
               a(3) = (   0.000000   0.000000   1.000000 )

     site n.     atom                  positions (alat units)
         1           Cu  tau(   1) = (   0.0000000   0.0000000   0.0000000  )
         2           Cu  tau(   2) = (   0.5000000   0.5000000   0.4900000  )

"""
PW_STEP = """
!    total energy              =     -212.10000000 Ry

     Forces acting on atoms (cartesian axes, Ry/au):

     atom    1 type  1   force =     0.00000000    0.00000000    0.01000000
     atom    2 type  1   force =     0.00000000    0.00000000   -0.01000000

"""
PW_POSITIONS = """
ATOMIC_POSITIONS (angstrom)
Cu            0.0000000000        0.0000000000        0.0000000000
Cu            1.7992000000        1.7992000000        1.7{}

"""


def pw_output(steps):
    """An output of Quantum ESPRESSO's pw.x with so many steps of a relaxation."""
    moves = [PW_POSITIONS.format(step) for step in range(1, steps)]
    return PW_HEAD + PW_STEP.join(["", *moves, ""])


def vasprun(energies, limit=4):
    """A vasprun.xml with the energies of the electronic steps of each ionic step."""
    steps = ""
    for place, cycles in enumerate(energies):
        written = "".join(
            f'<scstep><energy><i name="e_fr_energy">{e}</i><i name="e_wo_entrp">{e}</i>'
            f'<i name="e_0_energy">{e}</i></energy></scstep>'
            for e in cycles
        )
        steps += STEP.format(cycles=written, place=0.5 + 0.01 * place, energy=cycles[-1])
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling><incar><i name="EDIFF"> 1e-05</i></incar>
<kpoints><varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1</v></varray>
</kpoints><parameters><separator name="electronic"><i name="EDIFF"> 1e-05</i>
<i type="int" name="NELM"> {limit}</i></separator></parameters>
<atominfo><atoms>2</atoms><array name="atoms"><dimension dim="1">ion</dimension>
<field type="string">element</field><field type="int">atomtype</field><set>
<rc><c>Cu</c><c>1</c></rc>
<rc><c>Cu</c><c>1</c></rc></set></array></atominfo>
<structure name="initialpos"><crystal><varray name="basis"><v>4 0 0</v><v>0 4 0</v><v>0 0 4</v>
</varray></crystal><varray name="positions"><v>0 0 0</v><v>0.5 0.5 0.5</v></varray></structure>
{steps}</modeling>"""


def test_numbered_types_are_no_elements(tmp_path):
    dump = tmp_path / "run.lammpstrj"
    dump.write_text(DUMP.format(columns="type", first=1, second=2))
    for read in (lambda: read_structures(dump, require=()), lambda: read_structure(str(dump))):
        with pytest.raises(UserError, match="types by number and no elements; write them with"):
            read()
    dump.write_text(DUMP.format(columns="element", first="Cu", second="O"))
    assert read_structures(dump, require=())[0].get_chemical_symbols() == ["Cu", "O"]
    dump.write_text(DUMP.format(columns="mass", first=63.546, second=15.999))
    assert read_structures(dump, require=())[0].get_chemical_symbols() == ["Cu", "O"]


@pytest.mark.parametrize("masses", [False, True])
def test_a_lammps_data_file_needs_masses(tmp_path, masses):
    path = tmp_path / "slab.data"
    write(path, bulk("Cu", cubic=True), format="lammps-data", masses=masses, atom_style="atomic")
    path = path.rename(tmp_path / "slab.lammps-data")
    if masses:
        assert set(read_structures(path, require=())[0].get_chemical_symbols()) == {"Cu"}
    else:
        with pytest.raises(UserError, match="give the types' masses"):
            read_structures(path, require=())


def test_formats_without_labels_say_so(tmp_path):
    write(tmp_path / "cu.cif", bulk("Cu", cubic=True))
    assert len(read_structures(tmp_path / "cu.cif", require=())) == 1
    with pytest.raises(UserError, match="files of the format cif may hold none"):
        read_structures(tmp_path / "cu.cif")


def test_partly_occupied_sites_are_refused(tmp_path):
    write(tmp_path / "a.cif", bulk("Cu", cubic=True))
    text = (tmp_path / "a.cif").read_text()
    assert " 1.0000" in text
    (tmp_path / "a.cif").write_text(text.replace(" 1.0000", " 0.5000", 1))
    with pytest.raises(UserError, match="sites are partly occupied"):
        read_structures(tmp_path / "a.cif", require=())


def test_steps_that_used_up_their_cycles_are_left_out(tmp_path, capsys):
    path = tmp_path / "vasprun.xml"
    last_cycle = [-7.1, -7.3, -7.4, -7.400001]
    path.write_text(vasprun([[-7.0, -7.2], [-7.0, -6.0, -5.5, -5.1], last_cycle]))
    found = [reference_energy(a) for a in read_structures(path)]
    np.testing.assert_allclose(found, [-7.2, -7.400001])
    assert "left out 1 of 3 steps" in capsys.readouterr().out
    path.write_text(vasprun([[-7.0, -6.0, -5.5, -5.1]]))
    with pytest.raises(UserError, match="no step of it has converged"):
        read_structures(path)


def test_a_cut_off_vasprun_says_what_is_lost(tmp_path, capsys):
    path = tmp_path / "vasprun.xml"
    text = vasprun([[-7.0, -7.2], [-7.0, -7.3]])
    path.write_text(text[: text.rindex("<calculation>") + 300])
    assert len(read_structures(path)) == 1
    assert "is cut off in or after step 1" in capsys.readouterr().out


COUNTS = {
    "POSCAR": "Cu\n1.0\n3 0 0\n0 3 0\n0 0 3\nCu\n{}\nDirect\n0 0 0\n",
    "a.lammpstrj": "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n{}\nITEM: BOX BOUNDS pp pp pp\n"
    "0 3\n0 3\n0 3\nITEM: ATOMS id type x y z element mass\n1 1 0 0 0 Cu 63\n",
    "a.lammps-data": "LAMMPS\n\n{} atoms\n1 atom types\n0 3 xlo xhi\n0 3 ylo yhi\n0 3 zlo zhi\n\n"
    "Masses\n\n1 63.5\n\nAtoms # atomic\n\n1 1 0 0 0\n",
    "a.gen": "{} C\nCu\n1 1 0 0 0\n",
    "a.cube": "c\nc\n{} 0 0 0\n1 3 0 0\n1 0 3 0\n1 0 0 3\n29 0 0 0 0\n0.5\n",
    "a.xsf": "CRYSTAL\nPRIMVEC\n3 0 0\n0 3 0\n0 0 3\nPRIMCOORD\n{} 1\n29 0 0 0\n",
}


@pytest.mark.parametrize("count", ["1000000000", "9" * 40])
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_beyond_the_file_is_refused_unread(tmp_path, name, count):
    path = tmp_path / name
    path.write_text(COUNTS[name].format(1))
    assert len(read_structures(path, require=())[0]) == 1
    path.write_text(COUNTS[name].format(count))
    with pytest.raises(UserError, match=rf"{name} announces [0-9e+]+ atoms or points, but has"):
        read_structures(path, require=())


def test_a_grid_beyond_the_file_is_refused_unread(tmp_path):
    path = tmp_path / "a.cube"
    path.write_text(COUNTS["a.cube"].format(1).replace("1 3 0 0", "1000000 3 0 0"))
    with pytest.raises(UserError, match="announces 1000000 atoms or points"):
        read_structures(path, require=())


def outcar(*cycles: tuple[int, str], limit: int = 4) -> str:
    """What an OUTCAR says of electronic loops: number of cycles and the line that ends each."""
    text = f"   NELM   =     {limit};   NELMIN=  2; NELMDL= -5     # of ELM steps\n"
    for step, (count, end) in enumerate(cycles, 1):
        for cycle in range(1, count + 1):
            text += f"--------------- Iteration{step:7d}({cycle:4d})  ---------------\n"
            text += "  Free energy of the ion-electron system (eV)\n"
        text += f"{end}\n  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n"
    return text


REACHED = "------------------------ aborting loop because EDIFF is reached ----------------"
NOT_REACHED = "----------------- aborting loop EDIFF was not reached (unconverged) ------------"


@pytest.mark.parametrize(
    ("cycles", "failed"),
    [
        ([(2, REACHED), (3, REACHED)], []),
        ([(2, REACHED), (4, NOT_REACHED), (3, REACHED)], [1]),
        # VASP 5 says nothing.
        ([(4, ""), (2, REACHED), (4, "")], [0, 2]),
        # In the last cycle it may yet be reached.
        ([(4, REACHED), (4, NOT_REACHED)], [1]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_steps_of_an_outcar_that_used_up_their_cycles_are_known(tmp_path, cycles, failed, packed):
    path = tmp_path / ("OUTCAR.gz" if packed else "OUTCAR")
    text = outcar(*cycles).encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    assert unconverged_steps(path, "vasp-out") == failed


def header(counts: str, *potentials: str) -> str:
    """What an OUTCAR says of its system: each potential twice, and how many atoms it has."""
    names = "".join(f" POTCAR:    PAW_PBE {name} 02Aug2007\n" for name in 2 * potentials)
    return f"{names}   ions per type =  {counts}\n"


def test_runs_of_different_systems_in_one_outcar_are_refused(tmp_path):
    """ASE gives all of them the atoms of the first."""
    path = tmp_path / "OUTCAR"
    run = outcar((2, REACHED))
    path.write_text(2 * (header("3 1", "Cu", "H") + run))
    assert unconverged_steps(path, "vasp-out") == []
    for other in (header("2 2", "Cu", "H"), header("3 1", "Ni", "H")):
        path.write_text(header("3 1", "Cu", "H") + run + other + run)
        with pytest.raises(UserError, match=r"different systems.*3 1 atoms of PAW_PBE Cu"):
            unconverged_steps(path, "vasp-out")


def test_steps_of_a_force_field_are_no_labels(tmp_path):
    path = tmp_path / "OUTCAR"
    learnt = "  ML FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  free  energy ML TOTEN  = -3 eV\n"
    path.write_text(outcar((2, REACHED)) + learnt)
    with pytest.raises(UserError, match="step 1 was taken with VASP's machine-learned force field"):
        unconverged_steps(path, "vasp-out")
    path = tmp_path / "vasprun.xml"
    path.write_text(vasprun([[-7.0, -7.2]]).replace("</modeling>", f"{LEARNT}</modeling>"))
    with pytest.raises(UserError, match="step 1 was taken with VASP's machine-learned force field"):
        read_structures(path)


def test_a_lammps_dump_has_no_energy(tmp_path):
    """ASE gives a dump with forces an energy of zero."""
    path = tmp_path / "run.lammpstrj"
    text = DUMP.format(columns="element", first="Cu", second="Cu").replace(
        "x y z", "x y z fx fy fz"
    )
    path.write_text(text.replace("0 0 0\n2", "0 0 0 0 0 1\n2").replace("2 2 2", "2 2 2 0 0 -1"))
    (atoms,) = read_structures(path, require=("forces",))
    assert reference_energy(atoms) is None
    assert reference_forces(atoms)[0, 2] == 1
    with pytest.raises(UserError, match="no energy"):
        read_structures(path)


def test_an_unfinished_last_step_is_left_out_of_a_programs_output(tmp_path, capsys):
    path = tmp_path / "pw.out"
    path.write_text(pw_output(steps=3))
    assert len(read_structures(path)) == 3
    whole = pw_output(steps=3)
    path.write_text(whole[: whole.rindex("Forces acting")])
    assert len(read_structures(path)) == 2
    assert "is cut off in step 2, which has no forces" in capsys.readouterr().out
    path.write_text(whole[: whole.index("Forces acting")])
    with pytest.raises(UserError, match="structure 0: no forces"):
        read_structures(path)


JUNK = [
    bytes(range(256)) * 2, bytes(300), b"1000000000 1000000000 1000000000\n" * 12, b"99999999\n",
    b"-5 -5 -5\n" * 12, b"loop_\n_atom_site_label\n" * 9 + b"Cu 1 2 3\n", b"[" * 3000,
    b'{"1": {"numbers": [1e400], "positions": "x"}, "ids": [1, 2], "nextid": 3}',
]  # fmt: skip


FORMATS = (
    "vasp cif traj json db cube xsf gen pdb xml lammpstrj nc npz xyz.gz xyz.bz2 xyz.xz vasp.gz"
)


@pytest.mark.parametrize("ending", FORMATS.split())
def test_junk_under_the_name_of_any_format_is_refused_in_one_line(tmp_path, ending):
    for number, junk in enumerate(JUNK):
        path = tmp_path / f"{number}.{ending}"
        path.write_bytes(junk)
        with pytest.raises(UserError) as refused:
            read_structures(path, require=())
        assert path.name in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_a_compressed_file_that_is_cut_or_changed_is_refused(tmp_path, ending):
    path = tmp_path / f"a.xyz.{ending}"
    write(path, [bulk("Cu", cubic=True)] * 30, format="extxyz")
    whole = path.read_bytes()
    assert len(read_structures(path, require=())) == 30
    middle = len(whole) // 2
    for damaged in (whole[:-9], whole[:middle] + b"\0\xff" * 8 + whole[middle + 16 :]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.xyz\.\w+ cannot be read: "):
            read_structures(path, require=())
