"""Check that the model loads and runs on the configured device, by an engine in its own process."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from dropscribe.config import EngineSettings
from dropscribe.doctor.checks.record import Check, Level, fail, from_error, ok, warning
from dropscribe.engine.joint_facts import check_alike, joint_facts
from dropscribe.engine.process import ProcessEngine
from dropscribe.engine.protocol import HeldModel
from dropscribe.errors import EngineError
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.pipeline import sizing
from dropscribe.pipeline.local import engine_plan
from dropscribe.pipeline.local.arena import Arena
from dropscribe.pipeline.local.engine_supervisor import READY_TIMEOUT_S
from dropscribe.service.monitoring import status_file
from dropscribe.transcript.types import EngineFacts

NAME = "model"
#: Size of the shared memory of an engine that gets no audio, audio seconds.
NO_AUDIO_S = 1.0


def look_model(settings: EngineSettings, timeout_s: float = READY_TIMEOUT_S) -> Check:
    """Start the engine on all its devices as the daemon does, wait until it is warm, check its facts, stop it.

    Downloads a model of the hub that is not on this machine yet.
    """
    arena = Arena(NO_AUDIO_S)
    devices = engine_plan.devices_of(settings)
    engines: list[ProcessEngine] = []
    try:
        plans = [
            engine_plan.EnginePlan(one, arena, NO_AUDIO_S)
            for one in engine_plan.settings_of(settings, devices, sizing.cores())
        ]
        engines.extend(plan.start() for plan in plans)
        until = time.monotonic() + timeout_s
        for device, engine in zip(devices, engines, strict=True):
            try:
                ready = engine.wait_ready(max(0.0, until - time.monotonic()))
            except EngineError as e:
                raise e.with_reason(f"{device}: {e.reason}" if len(devices) > 1 else e.reason) from e
            if not ready:
                return fail(
                    NAME,
                    f"{settings.models.asr} was not ready after {timeout_s:.0f} s",
                    "run it again (a fetch goes on where it stopped), or copy the model's directory and give its path",
                )
        known = [engine.facts for engine in engines]
        for facts in known:
            check_alike(facts, known[0])
        held = [model for engine in engines for model in engine.held]
        return with_problems(check_facts(joint_facts(known), settings.device), problems_of(held))
    except EngineError as e:
        return from_error(NAME, e)
    finally:
        for engine in engines:
            engine.close()
        arena.close()


def look_running(location: DatabaseLocation, setting: str) -> Check | None:
    """`check_facts` for the engine of a running daemon; None while it has none.

    No second engine is started then, since it would compete for the device's memory.
    """
    try:
        said = status_file.read(location) or {}
    except (OSError, ValueError):
        return None
    raw = said.get("engine")
    if raw is None:
        return None
    # A daemon of the previous version does not write the models.
    held = [
        HeldModel(m["role"], m["name"], m["state"], m["bytes"], m["problem"] or "")
        for m in said.get("models", ())
    ]
    return with_problems(check_facts(EngineFacts.of_record(raw), setting), problems_of(held))


def problems_of(held: Iterable[HeldModel]) -> list[str]:
    """A line for each model that cannot be loaded, once for several devices."""
    failed = (f"{m.name} ({m.role}) cannot be loaded: {m.problem}" for m in held if m.state == "failed")
    return list(dict.fromkeys(failed))


def with_problems(check: Check, problems: Sequence[str]) -> Check:
    """A check of an engine that works, failed if there are models that profiles name and that cannot be loaded."""
    if check.status is Level.FAIL or not problems:
        return check
    remedy = "mend it, or name another one in the profile; the jobs of its folders wait"
    return fail(NAME, f"{check.detail}; but {'; '.join(problems)}", remedy)


def check_facts(facts: EngineFacts, setting: str) -> Check:
    """Check that an engine runs on the devices of `engine.device`, and that its model is suitable for production."""
    text = f"{facts.model} with {facts.vad_model} on {facts.device}, warm after {facts.warmup_s:.1f} s"
    # "cuda:0 (NVIDIA H200), cuda:1 (NVIDIA H200)" → "cuda:0", "cuda:1"
    found = [device.split(" ", maxsplit=1)[0] for device in facts.device.split(", ")]
    fits = {"auto": True, "cuda": "cpu" not in found}
    # A device named twice has two engine processes, but counts as one.
    if not fits.get(setting, found == [*dict.fromkeys(setting.split(", "))]):
        return fail(NAME, f"{text}, and engine.device is {setting}", "see the checks of torch and device")
    if facts.notice is not None:
        return warning(
            NAME, f"{text}: {facts.notice}", "set engine.models.asr = 'paraformer-zh' for production use"
        )
    return ok(NAME, text)
