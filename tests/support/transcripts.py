"""Transcripts for tests of renderers."""

from __future__ import annotations

from dropscribe.transcript.types import (
    GAP,
    AudioTrack,
    EngineFacts,
    Loss,
    MediaFacts,
    Segment,
    Timings,
    Tokens,
    Transcript,
)

ENGINE = EngineFacts(
    models=(("asr", "paraformer-zh"), ("vad", "fsmn-vad")),
    device="cpu",
    precision="fp32",
    versions=(("funasr", "1.4.16"), ("torch", "2.13.0")),
    notice=None,
    warmup_s=3.25,
)
MEDIA = MediaFacts(
    duration_ms=12_500, container="mov", codec="aac", sample_rate_hz=48_000, channels=2, decoder="av"
)


def tokens(words: list[str], start_ms: int, step_ms: int = 250) -> Tokens:
    """Consecutive words, each `step_ms` long."""
    bounds = [start_ms + i * step_ms for i in range(len(words) + 1)]
    return Tokens(words, bounds[:-1], bounds[1:])


def transcript(
    *segments: Segment,
    media: MediaFacts = MEDIA,
    engine: EngineFacts = ENGINE,
    timings: Timings | None = None,
) -> Transcript:
    return Transcript(
        recording_name="meeting.m4a",
        sha256="0123456789abcdef" * 4,
        job_id=7,
        created_at=1_772_352_000.25,
        media=media,
        engine=engine,
        segments=segments,
        timings=timings or Timings(),
    )


def rich_transcript() -> Transcript:
    """A transcript with all features: two scripts, subwords, a pause, a long segment, no tokens, no text, characters
    to escape, truncation, a notice.
    """
    long_text = "我们今天讨论明年的预算以及上海分公司的租金问题请大家先看第一页"
    first = Tokens.of([*tokens(["hel@@", "lo", "every@@", "one"], 300), *tokens(list("大家好"), 2300)])
    return transcript(
        Segment(0, 300, 3050, "hello everyone 大家好", first),
        Segment(1, 3500, 11_500, long_text, tokens(list(long_text), 3500, 240)),
        Segment(2, 11_600, 11_900, ""),
        Segment(3, 11_900, 12_400, "a <b> & c --> d"),
        media=MediaFacts(
            duration_ms=12_500,
            container="mov",
            codec="aac",
            sample_rate_hz=48_000,
            channels=2,
            decoder="av",
            warnings=("3.5 s of 16.0 s are missing",),
            truncated="3.5 s of 16.0 s are missing",
            losses=(Loss(GAP, 11_500, 100, "0.1 s without audio"),),
            tracks=(
                AudioTrack(1, "zho", None, "aac", 2, default=True, chosen=True),
                AudioTrack(2, "eng", "Interpreter", "aac", 2, default=False, chosen=False),
            ),
        ),
        engine=EngineFacts(
            (("asr", "paraformer-mini"), ("vad", "vad-mini")),
            "cpu",
            "fp32",
            (("funasr", "1.4.16"), ("torch", "2.13.0")),
            "Made with a demonstration model; not for use in earnest.",
            3.25,
        ),
        timings=Timings(
            seconds=(
                ("settling", 2.0),
                ("waiting", 0.125),
                ("decoding", 0.05),
                ("vad", 0.01),
                ("batch_queue", 0.1),
                ("recognition", 0.4),
                ("rendering", 0.002),
                ("publishing", 0.004),
            ),
            batch_sizes=(4, 8),
            padding_waste=0.125,
            speech_ms=11_550,
            wall_s=0.625,
        ),
    )
