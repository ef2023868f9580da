"""One self-contained page: the text with times, and a player that jumps to a sentence.

Works from `file://`. The player uses the recording if that lies beside the page, and is hidden otherwise. The content
security policy permits the page's own style and script, by their hashes, and sound of the same place: nothing in a
transcript can run or fetch anything.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from urllib.parse import quote

from dropscribe.durations import clock
from dropscribe.transcript.renderers.content import UNSURE, UNSURE_NOTE, Content, encode
from dropscribe.transcript.written.sentences import Paragraph

_STYLE = """
:root { color-scheme: light dark; --faint: #6b6b6b; --mark: #fff1b8; --note: #fff8e1; }
@media (prefers-color-scheme: dark) { :root { --faint: #a0a0a0; --mark: #5c4a00; --note: #332b12; } }
body { font: 1.05rem/1.7 system-ui, "Noto Sans CJK SC", "Microsoft YaHei", sans-serif; max-width: 44rem;
  margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
audio { width: 100%; position: sticky; top: 0; }
.remark { background: var(--note); padding: .4rem .8rem; border-radius: .4rem; }
p.said { display: grid; grid-template-columns: 5rem 1fr; margin: .6rem 0; overflow-wrap: anywhere; }
.who { font-weight: 600; }
[role=button] { cursor: pointer; border-radius: .3rem; }
[role=button]:hover { background: var(--note); }
[role=button].playing { background: var(--mark); }
u { text-decoration: underline dotted 2px #c0392b; text-underline-offset: .25em; }
time { color: var(--faint); font-variant-numeric: tabular-nums; font-size: .85rem; padding-top: .25rem; }
"""
_SCRIPT = """
const player = document.querySelector("audio");
const said = Array.from(document.querySelectorAll("[data-start]"));
const starts = said.map((b) => Number(b.dataset.start));
let current = null;
function withoutRecording() {
  player.hidden = true;
  for (const s of said) { s.removeAttribute("role"); s.removeAttribute("tabindex"); }
}
function playFrom(s) {
  if (player.hidden) return;
  player.currentTime = Number(s.dataset.start);
  player.play();
}
function mark() {
  let low = 0, high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= player.currentTime + 0.05) low = middle + 1; else high = middle;
  }
  const now = low ? said[low - 1] : null;
  if (now === current) return;
  if (current) current.classList.remove("playing");
  if (now) { now.classList.add("playing"); now.scrollIntoView({ block: "nearest" }); }
  current = now;
}
if (player.error) withoutRecording();
player.addEventListener("error", withoutRecording);
player.addEventListener("timeupdate", mark);
for (const s of said) {
  s.addEventListener("click", () => { if (!String(getSelection())) playFrom(s); });
  s.addEventListener("keydown", (e) => { if (e.key === "Enter") playFrom(s); });
}
document.addEventListener("keydown", (e) => {
  if (player.hidden || e.ctrlKey || e.altKey || e.metaKey) return;
  if (e.key === " " && e.target === document.body) {
    e.preventDefault();
    if (player.paused) player.play(); else player.pause();
  } else if (e.key === "ArrowLeft") player.currentTime -= 5;
  else if (e.key === "ArrowRight") player.currentTime += 5;
});
"""


def html(content: Content) -> bytes:
    """HTML page: remarks, player, and paragraphs with speakers; a click on a sentence plays from there."""
    transcript = content.transcript
    name = escape(transcript.recording_name)
    notes = [r.text for r in content.remarks]
    paragraphs = [_paragraph(content, paragraph) for paragraph in content.paragraphs]
    if any("<u>" in paragraph for paragraph in paragraphs):
        notes.append(UNSURE_NOTE)
    said = "\n".join(f'<p class="remark">{escape(note)}</p>' for note in notes)
    lines = "\n".join(paragraphs)
    policy = f"default-src 'none'; media-src 'self' file:; style-src '{_hash(_STYLE)}'; script-src '{_hash(_SCRIPT)}'"
    return encode(f"""<!DOCTYPE html>
<html lang="{content.language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{name}</h1>
{said}
<audio controls preload="metadata" src="{quote(transcript.recording_name)}"></audio>
<main>
{lines}
</main>
<script>{_SCRIPT}</script>
</body>
</html>
""")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _paragraph(content: Content, paragraph: Paragraph) -> str:
    who = content.label(paragraph.speaker) if paragraph.begins else ""
    parts = [f'<b class="who">{escape(who)}</b>'] if who else []
    for i, sentence in enumerate(paragraph.sentences):
        words = "".join(
            f"<u>{escape(text)}</u>" if unsure else escape(text) for text, unsure in sentence.spans(UNSURE)
        )
        parts.append(
            f"{sentence.before if i else ''}"
            f'<span role="button" tabindex="0" data-start="{sentence.start_ms / 1000:.3f}">{words}</span>'
        )
    time = clock(paragraph.start_ms // 1000)
    return f'<p class="said"><time>{time}</time><span>{"".join(parts)}</span></p>'
