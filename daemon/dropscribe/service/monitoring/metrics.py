"""Metrics in the text format of Prometheus. No label is a path, a job or anything else without a bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from dropscribe import __version__
from dropscribe.ledger.outbox import TargetCounts
from dropscribe.ledger.records import QueueNumbers
from dropscribe.service.control.folder_rules import HOURS
from dropscribe.service.monitoring.gpus import GpuUse
from dropscribe.service.monitoring.status_file import Status
from dropscribe.service.monitoring.tally import Buckets, Totals


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that is written, at `now` (epoch seconds)."""

    now: float
    status: Status
    totals: Totals
    queue: QueueNumbers
    #: Numbers of paused folders, and of pauses of all folders.
    paused_folders: int = 0
    paused_all: int = 0
    gpus: tuple[GpuUse, ...] = ()
    outbox: tuple[TargetCounts, ...] = ()


class _Families(Collector):
    """Families that are collected once."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        return self._families


def render(gathered: Gathered) -> str:
    """The whole file."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(_families(gathered)))
    return generate_latest(registry).decode()


def _families(g: Gathered) -> Iterator[Metric]:
    yield from _daemon(g)
    yield from _jobs(g)
    yield from _work(g.totals)
    yield from _machine(g)
    yield from _outbox(g)


def _daemon(g: Gathered) -> Iterator[Metric]:
    s = g.status
    yield _gauge("ready", "1 if the engine is warm and recordings are taken.", s.state == "ready")
    yield _gauge("start_time_seconds", "Start of the daemon, Unix time.", s.since)
    yield _gauge("written_time_seconds", "When these metrics were written, Unix time.", g.now)
    facts = {"version": __version__, "model": "", "device": "", "precision": ""}
    if s.engine is not None:
        facts |= {"model": s.engine.model, "device": s.engine.device, "precision": s.engine.precision}
    yield _gauge("info", "Version, model and device, as labels.", {tuple(facts.values()): 1}, tuple(facts))
    folders = {("ok",): 0, ("problem",): 0}
    for folder in s.folders:
        folders["problem" if folder.problem else "ok",] += 1
    yield _gauge("folders", "Watched folders.", folders, ("state",))
    closed = len({wait.folder for wait in s.waits if wait.code == HOURS})
    yield _gauge("folders_closed", "Watched folders outside their hours.", closed)
    yield _gauge("problems", "Problems of disks and file systems that need a person.", len(s.storage))
    restarts = {("engine",): s.restarts.engines, ("decoder",): s.restarts.decoders}
    yield _counter("restarts", "Processes started in place of others.", restarts, ("process",))


def _jobs(g: Gathered) -> Iterator[Metric]:
    queued = {(reason or "none",): count for reason, count in g.queue.queued.items()} or {("none",): 0}
    yield _gauge("jobs_queued", "Jobs that wait, by reason code; none: for their turn.", queued, ("reason",))
    yield _gauge("jobs_running", "Jobs in progress, as the database has them.", g.queue.running)
    yield _gauge("jobs_in_flight", "Jobs that this daemon has claimed.", g.status.in_flight)
    yield _gauge("files_unsettled", "Files that are not complete yet.", g.status.unsettled)
    oldest = g.queue.oldest_admitted_at
    waited_s = 0.0 if oldest is None else max(0.0, g.now - oldest)
    yield _gauge("oldest_job_seconds", "Age of the oldest job that waits; 0 if none does.", waited_s)
    pauses = {("all",): g.paused_all, ("folder",): g.paused_folders}
    yield _gauge("pauses", "Pauses in force.", pauses, ("scope",))
    yield _counter(
        "jobs_ended", "Jobs that ended, by state and reason code.", g.totals.ended, ("state", "reason")
    )


def _work(totals: Totals) -> Iterator[Metric]:
    yield _counter("audio_seconds", "Audio of recordings that were recognised.", totals.audio_s)
    yield _counter("speech_seconds", "Speech in them.", totals.speech_s)
    yield _counter("batch_speech_seconds", "Speech in batches.", totals.batched_s)
    yield _counter(
        "batch_padded_seconds", "The same with padding: speech/padded is the fill.", totals.padded_s
    )
    stages = HistogramMetricFamily(
        "dropscribe_stage_seconds", "Time of a recording in each stage.", labels=["stage"]
    )
    for stage, buckets in totals.stages.items():
        stages.add_metric([stage], _bounded(buckets), buckets.total)
    yield stages
    segments = HistogramMetricFamily(
        "dropscribe_batch_segments", "Segments in the batches of a recording, on average."
    )
    segments.add_metric([], _bounded(totals.segments), totals.segments.total)
    yield segments


def _machine(g: Gathered) -> Iterator[Metric]:
    free = {
        (place,): value
        for place, value in (("database", g.status.free.database), ("transcripts", g.status.free.transcripts))
        if value is not None
    }
    yield _gauge("free_bytes", "Free space, of several disks the least.", free, ("place",))
    used = {(gpu.index,): gpu.used_bytes for gpu in g.gpus}
    yield _gauge("gpu_memory_used_bytes", "Memory of a GPU in use, by all programs.", used, ("gpu",))
    total = {(gpu.index,): gpu.total_bytes for gpu in g.gpus}
    yield _gauge("gpu_memory_total_bytes", "Memory of a GPU.", total, ("gpu",))
    busy = {(gpu.index,): gpu.busy for gpu in g.gpus if gpu.busy is not None}
    yield _gauge("gpu_busy_ratio", "Share of the last moments in which a GPU computed.", busy, ("gpu",))


def _outbox(g: Gathered) -> Iterator[Metric]:
    events = {("pending",): sum(c.pending for c in g.outbox), ("failed",): sum(c.failed for c in g.outbox)}
    yield _gauge("notifications", "Notifications that wait or could not be sent.", events, ("state",))
    due = [c.oldest_due_at for c in g.outbox if c.oldest_due_at is not None]
    late_s = max(0.0, g.now - min(due)) if due else 0.0
    yield _gauge("notifications_late_seconds", "How long the oldest one that waits has been due.", late_s)


#: A value, or one for the values of the labels: a tuple of text.
_Values = float | Mapping[Any, float]


def _gauge(name: str, what: str, values: _Values, labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(f"dropscribe_{name}", what, labels=labels)
    for label_values, value in _items(values):
        family.add_metric(label_values, float(value))
    return family


def _counter(name: str, what: str, values: _Values, labels: tuple[str, ...] = ()) -> Metric:
    family = CounterMetricFamily(f"dropscribe_{name}", what, labels=labels)
    for label_values, value in _items(values):
        family.add_metric(label_values, float(value))
    return family


def _items(values: _Values) -> Iterable[tuple[tuple[str, ...], float]]:
    return values.items() if isinstance(values, Mapping) else [((), values)]


def _bounded(buckets: Buckets) -> list[tuple[str, float]]:
    """Cumulative counts, as the format has them."""
    found: list[tuple[str, float]] = []
    count = 0
    for bound, inside in zip((*map(repr, buckets.bounds), "+Inf"), buckets.counts, strict=True):
        count += inside
        found.append((bound, float(count)))
    return found
