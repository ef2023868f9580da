"""GPU visible to an engine process, by the setting and the devices visible already."""

from __future__ import annotations

import pytest

from dropscribe.engine.own_gpu import VISIBLE, OwnGpu, show_only


@pytest.mark.parametrize(
    ("device", "before", "gpus", "shown", "torch_name"),
    [
        ("cuda:0", None, 2, "0", "cuda:0"),
        ("cuda:1", None, 2, "1", "cuda:0"),
        ("cuda", None, 2, "0", "cuda:0"),
        ("auto", None, 2, "0", "auto"),
        ("cuda:1", "3,5", 2, "5", "cuda:0"),
        ("cuda:0", "GPU-8f6d, GPU-22aa", 2, "GPU-8f6d", "cuda:0"),
        ("cuda:1", "GPU-8f6d, GPU-22aa", 2, "GPU-22aa", "cuda:0"),
        # A GPU that does not exist keeps its name; torch will report the error.
        ("cuda:2", None, 2, None, "cuda:2"),
        ("cuda:1", "0", 1, "0", "cuda:1"),
        ("cuda:1", "0,-1", 1, "0,-1", "cuda:1"),
        ("cuda:1", None, 0, None, "cuda:1"),
        ("cuda:0", "", 0, "", "cuda:0"),
        ("cpu", None, 2, None, "cpu"),
        ("cpu", "1", 1, "1", "cpu"),
    ],
)
def test_a_process_sees_only_its_own_gpu(
    device: str, before: str | None, gpus: int, shown: str | None, torch_name: str
) -> None:
    environment = {} if before is None else {VISIBLE: before}
    own = show_only(device, environment, lambda: gpus)
    assert environment.get(VISIBLE) == shown
    assert own == OwnGpu(device, torch_name)


def test_gpus_are_not_counted_for_the_first_gpu() -> None:
    def ask() -> int:
        raise AssertionError

    assert show_only("cuda:0", {}, ask) == OwnGpu("cuda:0", "cuda:0")


@pytest.mark.parametrize(
    ("own", "said", "shown"),
    [
        (OwnGpu("cuda:1", "cuda:0"), "cuda:0 (NVIDIA H200)", "cuda:1 (NVIDIA H200)"),
        (OwnGpu("cuda:0", "cuda:0"), "cuda:0 (NVIDIA H200)", "cuda:0 (NVIDIA H200)"),
        (OwnGpu("auto", "auto"), "cuda:0 (NVIDIA H200)", "cuda:0 (NVIDIA H200)"),
        (OwnGpu("cpu", "cpu"), "cpu", "cpu"),
    ],
)
def test_the_device_has_its_name_in_the_settings(own: OwnGpu, said: str, shown: str) -> None:
    assert own.rename(said) == shown
