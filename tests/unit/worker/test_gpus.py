"""Which devices a sandbox shows to a step with GPUs."""

from __future__ import annotations

from pathlib import Path

from wesgate.worker.runtimes.process import gpu_devices


def test_a_step_sees_its_own_gpus_and_what_all_of_them_need(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    shown = [Path(device).name for device in gpu_devices((1,), str(tmp_path))]
    assert shown == ["nvidia1", "nvidiactl", "nvidia-uvm"]
    assert gpu_devices((), str(tmp_path)) == []
