"""Replay: the second head, what is replayed, and data that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from tiny_mace import predicted, rattled_structures, tiny_model

from distill.config import ReplayConfig, TeacherConfig
from distill.core.errors import UserError
from distill.data.reference_energies import ReferenceEnergies
from distill.data.structures import reference_energy, reference_forces, set_labels, write_structures
from distill.models.mace import adapter, fine_tuning
from distill.models.mace.bundled_foundation import load_foundation
from distill.models.mace.family import Mace
from distill.models.mace.rebuild import NEW_HEAD, REPLAY_HEAD, select_head, with_replay_head
from distill.models.mace.torch_tools import precision
from distill.models.mace.training import Place, Training
from distill.teacher import fitting
from distill.teacher.replay import choose_replay
from distill.teacher.starting_model import Start

STRUCTURES = rattled_structures(9)


@pytest.fixture(scope="module")
def start():
    return Start("tiny", "", Mace(tiny_model((1, 29)), batch_size=4))


def choose(start, **options):
    return choose_replay(ReplayConfig(**options), start, STRUCTURES, seed=1)


def labels(structures):
    return (
        np.array([reference_energy(a) for a in structures]),
        np.concatenate([reference_forces(a) for a in structures]),
    )


def by_head(model, head):
    found = adapter.predictions(model, STRUCTURES, batch_size=9, head=head)
    return found.energies, np.concatenate(found.forces)


@pytest.fixture(scope="module")
def two_heads():
    """The bundled foundation model with a second head, and both heads' readouts moved apart."""
    import torch

    single = load_foundation()
    double = with_replay_head(single, STRUCTURES[0])
    before = labels(predicted(single, STRUCTURES, batch_size=9))
    for head in (REPLAY_HEAD, NEW_HEAD):
        found = by_head(double, head)
        np.testing.assert_allclose(found[0], before[0], atol=1e-9)
        np.testing.assert_allclose(found[1], before[1], atol=1e-9)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in double.readouts.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return double


def test_a_head_that_is_taken_out_predicts_as_it_did_beside_the_other(two_heads):
    """Both heads start as the foundation model and part; one is delivered."""
    beside = {head: by_head(two_heads, head) for head in (REPLAY_HEAD, NEW_HEAD)}
    assert np.abs(beside[REPLAY_HEAD][1] - beside[NEW_HEAD][1]).max() > 1e-3
    single = select_head(two_heads, NEW_HEAD)
    alone = labels(predicted(single, STRUCTURES, batch_size=9))
    np.testing.assert_allclose(alone[0], beside[NEW_HEAD][0], atol=1e-8)
    np.testing.assert_allclose(alone[1], beside[NEW_HEAD][1], atol=1e-8)


def test_structures_made_from_the_training_set_carry_the_foundations_labels(start):
    replay = choose(start, count=5)
    assert len(replay.structures) == 5
    again = predicted(start.module, replay.structures, batch_size=5)
    for one, other in zip(replay.structures, again, strict=True):
        assert reference_energy(one) == pytest.approx(reference_energy(other), abs=1e-10)
        assert one.info["config_type"] == "replay"
    same = choose(start, count=5)
    for one, other in zip(replay.structures, same.structures, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)


def test_farthest_points_reach_the_odd_structure_out(start, tmp_path):
    path = tmp_path / "pretraining.xyz"
    odd = bulk("Cu", a=2.9, cubic=True)
    write_structures(path, [*(bulk("Cu", a=3.6 + 0.001 * i, cubic=True) for i in range(20)), odd])
    replay = choose(start, structures=str(path), count=3, choose="fps")
    assert 20 in replay.record.indices
    assert len(replay.record.sha256) == 64


def test_real_labels_are_taken_as_they_are_on_the_foundations_energy_scale(start, tmp_path):
    path = tmp_path / "pretraining.xyz"
    labelled = predicted(start.module, STRUCTURES, batch_size=9)
    for atoms in labelled:
        atoms.info["REF_energy"] += 0.01 * len(atoms)
    write_structures(path, labelled)
    replay = choose(start, structures=str(path), count=9, labels="file")
    for one, other in zip(replay.structures, labelled, strict=True):
        assert reference_energy(one) == pytest.approx(reference_energy(other))
    for atoms in labelled:
        atoms.info["REF_energy"] += 3.0 * len(atoms)
    write_structures(path, labelled)
    with pytest.raises(UserError, match=r"another reference .*'labels: foundation'"):
        choose(start, structures=str(path), count=9, labels="file")


def test_other_elements_are_left_out_with_a_count_or_refused(start, tmp_path, capsys):
    path = tmp_path / "pretraining.xyz"
    salt = bulk("LiF", "rocksalt", a=4.05)
    write_structures(path, [salt, *(bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6, 3.7))])
    replay = choose(start, structures=str(path), count=3)
    assert replay.record.left_out_for_elements == 1
    assert "1 of 4 structures" in (said := capsys.readouterr().out)
    assert "(F, Li; it has Cu, H)" in said
    write_structures(path, [salt])
    with pytest.raises(UserError, match=r"all 1 of 1 structures .*F, Li.*keep_elements"):
        choose(start, structures=str(path), count=1)


def test_too_few_and_unlabelled_structures_are_refused(start, tmp_path):
    path = tmp_path / "pretraining.xyz"
    write_structures(path, [bulk("Cu", cubic=True)])
    with pytest.raises(UserError, match=r"replay\.count is 2, .* only 1"):
        choose(start, structures=str(path), count=2)
    with pytest.raises(UserError, match="structure 0: no energy"):
        choose(start, structures=str(path), count=1, labels="file")
    write_structures(path, [set_labels(Atoms("H"), energy=0.0, forces=np.zeros((1, 3)))])
    assert len(choose(start, structures=str(path), count=1).structures) == 1


@pytest.mark.parametrize("multihead", [True, False])
def test_replayed_structures_train_with_their_weight_in_their_head(
    start, tmp_path, monkeypatch, multihead
):
    """Those of the data weigh 1 and are in the new head; only they validate."""
    seen = {}

    def train(model, plan, config, place, *, train_data, valid_data):
        seen["train"], seen["valid"] = train_data, valid_data
        errors = {"loss": 1.0, "energy_rmse": 1.0, "forces_rmse": 1.0}
        return Training([], 1, False, errors, errors)

    monkeypatch.setattr(fine_tuning, "train", train)
    options = {"count": 4, "weight": 0.25, "multihead": multihead}
    config = TeacherConfig(replay=options, validation_fraction=0.3)
    own = Start("tiny", "", Mace(tiny_model((1, 29)), batch_size=4))
    replay = choose(start, **options)
    e0 = ReferenceEnergies("lstsq", {"H": 0.0, "Cu": 0.0}, {"H": 0.3, "Cu": 0.8})
    place = Place(tmp_path / "checkpoint.pt", "", 1, "cpu")
    with precision("float64"):
        fitting.finetune(config, place, own, e0, STRUCTURES, [], replay)
    weights = [float(graph.weight) for graph in seen["train"]]
    assert weights == [1.0] * (len(weights) - 4) + [0.25] * 4
    heads = [int(graph.head) for graph in seen["train"]]
    assert heads == [int(multihead)] * (len(heads) - 4) + [0] * 4
    assert len(seen["valid"]) + len(weights) - 4 == len(STRUCTURES)
    assert {float(graph.weight) for graph in seen["valid"]} == {1.0}
    assert {int(graph.head) for graph in seen["valid"]} == {int(multihead)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "scratch", "replay": {}}, "replay goes with 'strategy: finetune'"),
        ({"strategy": "delta", "lora": {}}, "lora goes with 'strategy: finetune'"),
        ({"replay": {"labels": "file"}}, "replay.structures names no file"),
        ({"architecture": {}}, "architecture goes with 'strategy: scratch'"),
        ({"strategy": "none", "committee": {}}, "committee needs a strategy that trains"),
    ],
)
def test_strategies_that_do_not_go_together_are_refused(options, words):
    from distill.config import parse_config

    with pytest.raises(UserError, match=words):
        parse_config({"teacher": options}, "test.yaml")
    assert TeacherConfig().replay is None
