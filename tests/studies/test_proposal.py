"""The workflow that is proposed for a set of structures."""

from __future__ import annotations

import pytest
import yaml
from ase.build import bulk, fcc111, molecule
from helpers import call_distill, label_by_emt, rattled_copper

from distill.config import RunConfig, load_config
from distill.core.errors import UserError
from distill.data.structures import read_structures, write_structures
from distill.data.survey import survey
from distill.studies.proposal import proposed, seed_structures


def proposal(folder, structures, foundation=None):
    write_structures(folder / "set.xyz", structures)
    found, read = survey(str(folder / "set.xyz"))
    return proposed(found, read, foundation)[0]


def labelled(atoms):
    return [label_by_emt(atoms.copy()) for _ in range(2)]


def test_the_teacher_knows_the_elements(tmp_path):
    silicon = [bulk("Si")]
    assert proposal(tmp_path, labelled(bulk("Cu")))["teacher"]["foundation"] == "bundled"
    found = proposal(tmp_path, silicon)["teacher"]
    assert (found["foundation"], found["strategy"]) == ("medium-mpa-0", "none")
    assert proposal(tmp_path, [molecule("CH3CH2OH")])["teacher"]["foundation"] == "off-medium"
    radon = bulk("Cu")
    radon.symbols[:] = "Rn"
    with pytest.raises(UserError, match="no foundation model knows Rn"):
        proposal(tmp_path, [radon])
    radon.info["REF_energy"], radon.arrays["REF_forces"] = 0.0, radon.positions * 0
    assert proposal(tmp_path, [radon])["teacher"]["strategy"] == "scratch"


@pytest.mark.parametrize(
    ("foundation", "word"),
    [("bundled", "Si"), ("medium-mp", "medium-mpa-0"), ("no/such.model", "does not exist")],
)
def test_a_foundation_that_cannot_serve_is_refused(tmp_path, foundation, word):
    with pytest.raises(UserError, match=word):
        proposal(tmp_path, [bulk("Si")], foundation)


def test_sampling_fits_the_kind(tmp_path):
    (crystal,) = proposal(tmp_path, labelled(bulk("Cu", cubic=True)))["sampling"]["md"]
    assert crystal["supercell"] == [3, 3, 2]
    (slab,) = proposal(tmp_path, labelled(fcc111("Cu", (2, 2, 3), vacuum=8)))["sampling"]["md"]
    assert slab["supercell"][2] == 1 < slab["supercell"][0]
    found = proposal(tmp_path, [molecule("CH3CH2OH")])
    assert "supercell" not in found["sampling"]["md"][0]
    assert found["sampling"]["md"][0]["time_step"] == 0.5
    assert found["sampling"]["rattle"][0]["strain"] == 0.0
    assert found["data"]["unlabelled"] is True
    # Sixteen runs of 12 structures, some of which are held out, and ten copies.
    assert 20 < found["sampling"]["selection"]["count"] <= 110
    for kind in (crystal, slab, *found["sampling"]["md"]):
        # Enough trajectories to hold some out and to give their errors an interval.
        assert len(kind["temperatures"]) * kind["runs"] >= 16


def test_init_writes_what_it_says_and_every_option_inside_options(tmp_path, capsys):
    data, output = tmp_path / "train.xyz", tmp_path / "mine.yaml"
    structures = rattled_copper(4)
    for atoms in structures:
        atoms.info["U"] = atoms.info.pop("REF_energy")
        atoms.info["U_energy"] = atoms.info.pop("U")
    write_structures(data, structures)
    assert call_distill("init", data, "-o", output) == 0
    said = capsys.readouterr().out
    assert "4 bulk" in said and "energy under 'U_energy'" in said
    config = load_config(output)
    assert config.data.energy_key == "U_energy"
    assert config.sampling.md[0].supercell == (3, 3, 2)
    text = output.read_text()
    for option in ("start_epoch", "max_iterations", "hidden_irreps", "tolerances", "relax_steps"):
        assert option in text
    assert all(name in text for name in RunConfig.model_fields)
    # A comment begins at its place: without it, the line is the option.
    line = next(line for line in text.splitlines() if "# patience:" in line)
    assert yaml.safe_load(line.replace("# patience", "patience", 1)) == {"patience": 50}
    assert call_distill("init", data, "-o", output) == 2
    assert call_distill("init", data, "--preset", "bulk", "-o", tmp_path / "b.yaml") == 2
    assert "not both" in capsys.readouterr().err


def test_the_preset_of_molecules_needs_molecules(tmp_path, capsys):
    output = tmp_path / "w.yaml"
    assert call_distill("init", output, "--preset", "molecule") == 2
    assert "--train" in capsys.readouterr().err
    assert not output.exists()
    assert call_distill("init", output, "--preset", "molecule", "--train", "mine.xyz") == 0


def test_one_structure_gets_copies_to_learn_and_test_on(tmp_path):
    write_structures(tmp_path / "POSCAR.xyz", [bulk("Cu", cubic=True)])
    output = tmp_path / "w.yaml"
    assert call_distill("init", tmp_path / "POSCAR.xyz", "-o", output) == 0
    config = load_config(output)
    assert len(read_structures(config.data.train, require=())) == 20
    assert config.sampling.md[0].structure == str(tmp_path / "POSCAR.xyz")
    run = ("--set", f"output={tmp_path / 'run'}")
    assert call_distill("run", output, "--until", "data", *run) == 0
    first, second = seed_structures([bulk("Cu")]), seed_structures([bulk("Cu")])
    assert (first[3].positions == second[3].positions).all()
    assert seed_structures(rattled_copper(20)) is None
