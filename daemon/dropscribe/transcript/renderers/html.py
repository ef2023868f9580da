"""One self-contained page: the text with times, and a player that jumps to a sentence.

Works from `file://`. The player uses the recording if that lies beside the page, and is hidden otherwise. The content
security policy permits the page's own style and script, by their hashes, and sound of the same place: nothing in a
transcript can run or fetch anything.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from urllib.parse import quote

from dropscribe.durations import clock
from dropscribe.transcript.renderers.content import Content, encode

_STYLE = """
:root { color-scheme: light dark; --faint: #6b6b6b; --mark: #fff1b8; --note: #fff8e1; }
@media (prefers-color-scheme: dark) { :root { --faint: #a0a0a0; --mark: #5c4a00; --note: #332b12; } }
body { font: 1.05rem/1.7 system-ui, "Noto Sans CJK SC", "Microsoft YaHei", sans-serif; max-width: 44rem;
  margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
audio { width: 100%; position: sticky; top: 0; }
.remark { background: var(--note); padding: .4rem .8rem; border-radius: .4rem; }
p.said { display: grid; grid-template-columns: 5rem 1fr; margin: .4rem 0; }
button { font: inherit; color: inherit; background: none; border: 0; padding: .1rem .3rem; text-align: start;
  border-radius: .3rem; cursor: pointer; overflow-wrap: anywhere; }
button:disabled { cursor: default; color: inherit; }
button.playing { background: var(--mark); }
time { color: var(--faint); font-variant-numeric: tabular-nums; font-size: .85rem; padding-top: .25rem; }
"""
_SCRIPT = """
const player = document.querySelector("audio");
const said = Array.from(document.querySelectorAll("button"));
const starts = said.map((b) => Number(b.dataset.start));
let current = null;
function withoutRecording() { player.hidden = true; for (const b of said) b.disabled = true; }
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
for (const b of said) {
  b.addEventListener("click", () => { player.currentTime = Number(b.dataset.start); player.play(); });
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
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_KANA = re.compile(r"[\u3041-\u30ff]")
_HANGUL = re.compile(r"[\uac00-\ud7a3]")


def html(content: Content) -> bytes:
    """HTML page: remarks, player, and a paragraph per speech segment; a click on it plays from there."""
    transcript = content.transcript
    name = escape(transcript.recording_name)
    said = "\n".join(f'<p class="remark">{escape(r.text)}</p>' for r in content.remarks)
    lines = "\n".join(
        f'<p class="said"><time>{clock(s.start_ms // 1000)}</time>'
        f'<button type="button" data-start="{s.start_ms / 1000:.3f}">{escape(text)}</button></p>'
        for s, text in content.spoken
    )
    policy = f"default-src 'none'; media-src 'self' file:; style-src '{_hash(_STYLE)}'; script-src '{_hash(_SCRIPT)}'"
    return encode(f"""<!DOCTYPE html>
<html lang="{_language(transcript.text)}">
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


def _language(text: str) -> str:
    """Language of a text by its script, for screen readers and fonts; "en" for Latin letters."""
    if _KANA.search(text):
        return "ja"
    if _HANGUL.search(text):
        return "ko"
    return "zh" if _HAN.search(text) else "en"
