"""``export``: a student leaves and comes back with the same answers."""

from __future__ import annotations

from support.recipes import QUICK


def test_export_round_trips_through_safetensors_and_torch(kdrun, tmp_path) -> None:
    import torch
    from safetensors.torch import load_file

    from kdrun.models.building import build

    kdrun("run", "kd", *QUICK)
    (run,) = [str(p.parent.relative_to(tmp_path)) for p in tmp_path.glob("runs/*/*/result.json")]
    assert kdrun("export", run).code == 0
    weights = load_file(tmp_path / run / "fit_student.safetensors")
    spec = {
        "model": "cnn",
        "channels": [8, 16, 32],
        "kernel_size": 3,
        "num_classes": 10,
        "in_channels": 1,
        "image_size": 8,
    }
    network = build(spec).eval()
    network.load_state_dict(weights)
    assert kdrun("export", run, "--format", "torch").code == 0
    program = torch.export.load(tmp_path / run / "fit_student.pt2").module()
    image = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(program(image), network(image))
    assert (
        "has no stage that gives a model called 'fit_studet' (did you mean 'fit_student'?)"
        in kdrun("export", run, "--stage", "fit_studet").err
    )


def test_a_student_starts_from_an_exported_checkpoint_and_another_architecture_is_refused(kdrun, tmp_path) -> None:
    kdrun("run", "kd", *QUICK)
    (run,) = tmp_path.glob("runs/*/*")
    kdrun("export", str(run), "--output", "student.safetensors")
    assert kdrun("run", "kd", "transfer=none", "student.weights=student.safetensors", *QUICK).code == 0
    wrong = kdrun("run", "kd", "student=mlp_tiny", "student.weights=student.safetensors", *QUICK)
    assert wrong.code == 2
    assert "checkpoint student.safetensors is of another architecture" in wrong.err
    assert "does not exist" in kdrun("run", "kd", "student.weights=none.safetensors", *QUICK).err
