// The player of a recording: a sentence plays from its second, and the one being played is marked.
const player = document.getElementById("sound");
const said = Array.from(document.querySelectorAll(".s"));
const starts = said.map((s) => Number(s.dataset.start));
const STEP = 5;
let current = null;

// Index of the last sentence that begins at `second` or before.
function at(second) {
  let low = 0, high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= second + 0.02) low = middle + 1; else high = middle;
  }
  return low - 1;
}

function mark() {
  const now = said[at(player.currentTime)] || null;
  if (now === current) return;
  if (current) { current.classList.remove("playing"); current.removeAttribute("aria-current"); }
  if (now) {
    now.classList.add("playing");
    now.setAttribute("aria-current", "true");
    if (!player.paused) {
      const box = now.getBoundingClientRect();
      if (box.top < 140 || box.bottom > window.innerHeight - 20) now.scrollIntoView({ block: "center" });
    }
  }
  current = now;
}

function play() { player.play().catch(() => {}); }

// The part of the address behind #: t=12.34 is a second.
function sought() {
  const found = /^#t=(\d+(?:\.\d+)?)$/.exec(window.location.hash);
  return found ? Number(found[1]) : null;
}

function show(second) {
  const sentence = said[at(second)];
  if (!sentence) return;
  for (const s of document.querySelectorAll(".found")) s.classList.remove("found");
  sentence.classList.add("found");
  sentence.scrollIntoView({ block: "center" });
}

document.addEventListener("click", (event) => {
  const sentence = event.target.closest(".s");
  if (!sentence || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (!player || !window.getSelection().isCollapsed) return;
  player.currentTime = Number(sentence.dataset.start);
  history.replaceState(null, "", sentence.getAttribute("href"));
  for (const s of document.querySelectorAll(".found")) s.classList.remove("found");
  play();
});

document.addEventListener("keydown", (event) => {
  if (!player || event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea, audio")) return;
  if (event.key === " " && !event.target.closest("button, summary")) {
    event.preventDefault();
    if (player.paused) play(); else player.pause();
  } else if (event.key === "ArrowLeft") {
    player.currentTime = Math.max(0, player.currentTime - STEP);
  } else if (event.key === "ArrowRight") {
    player.currentTime += STEP;
  }
});

if (player) {
  player.addEventListener("timeupdate", mark);
  player.addEventListener("seeked", mark);
}
const first = sought();
if (first !== null) {
  show(first);
  if (player) player.currentTime = first;
}
window.addEventListener("hashchange", () => { const second = sought(); if (second !== null) show(second); });
