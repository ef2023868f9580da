// Send recordings one after the other; after a lost connection each goes on where it was.
const form = document.getElementById("upload");
const list = document.getElementById("sendings");
const words = form.dataset;
const accepted = new Set(words.accepted.split(" "));
const queue = [];
const RETRY_MS = 3000;
let busy = false;

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

function row(name) {
  const item = document.createElement("li");
  const title = document.createElement("strong");
  const state = document.createElement("span");
  const bar = document.createElement("progress");
  title.textContent = name;
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", name);
  item.append(title, state, bar);
  list.prepend(item);
  return { item, state, bar };
}

function ended(shown, text, failed) {
  shown.state.textContent = text;
  shown.item.classList.add(failed ? "bad" : "good");
  shown.bar.remove();
}

function address(job, offset) {
  const said = { folder: job.folder, name: job.file.name, size: job.file.size, key: job.file.lastModified };
  if (offset !== undefined) said.offset = offset;
  return "/api/v1/upload?" + new URLSearchParams(said);
}

function put(job, offset) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open("PUT", address(job, offset));
    request.upload.onprogress = (event) => { job.shown.bar.value = (offset + event.loaded) / job.file.size; };
    request.onload = () => done(request);
    request.onerror = request.ontimeout = request.onabort = () => done(null);
    request.send(job.file.slice(offset));
  });
}

async function reasonOf(text) {
  try { return JSON.parse(text).error.reason; } catch { return text.slice(0, 200); }
}

async function send(job) {
  for (;;) {
    let offset;
    try {
      const answer = await fetch(address(job), { cache: "no-store" });
      if (!answer.ok) {
        if (answer.status === 423) { await wait(RETRY_MS); continue; }
        return ended(job.shown, await reasonOf(await answer.text()), true);
      }
      offset = (await answer.json()).offset;
    } catch {
      job.shown.state.textContent = words.lost;
      await wait(RETRY_MS);
      continue;
    }
    job.shown.state.textContent = "";
    const done = await put(job, offset);
    if (done && done.status === 201) {
      ended(job.shown, words.sent, false);
      follow(job);
      return;
    }
    if (done && done.status !== 409 && done.status !== 423 && done.status !== 200) {
      return ended(job.shown, await reasonOf(done.responseText), true);
    }
    if (done && done.status === 409 && !("offset" in JSON.parse(done.responseText))) {
      return ended(job.shown, await reasonOf(done.responseText), true);
    }
    job.shown.state.textContent = words.lost;
    await wait(RETRY_MS);
  }
}

// Wait until the daemon has taken the recording, then lead to it.
async function follow(job) {
  const query = new URLSearchParams({ folder: job.folder, path: job.file.name, limit: 1 });
  for (let i = 0; i < 60; i++) {
    await wait(2000);
    try {
      const found = (await (await fetch("/api/v1/jobs?" + query, { cache: "no-store" })).json()).jobs;
      if (found.length) {
        const link = document.createElement("a");
        link.href = "/recordings/" + found[0].id;
        link.textContent = words.show;
        job.shown.item.append(link);
        return;
      }
    } catch { /* asked again */ }
  }
}

async function work() {
  if (busy) return;
  busy = true;
  while (queue.length) {
    await send(queue.shift());
  }
  busy = false;
}

function add(files) {
  for (const file of files) {
    const shown = row(file.name);
    const dot = file.name.lastIndexOf(".");
    if (file.size > Number(words.most)) ended(shown, words.large, true);
    else if (dot < 1 || !accepted.has(file.name.slice(dot).toLowerCase())) ended(shown, words.kind, true);
    else {
      shown.state.textContent = words.waits;
      queue.push({ file, shown, folder: document.getElementById("folder").value });
    }
  }
  work();
}

document.getElementById("files").addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
for (const name of ["dragover", "dragenter"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); form.classList.add("over"); });
}
document.addEventListener("dragleave", () => form.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  form.classList.remove("over");
  add(event.dataTransfer.files);
});
window.addEventListener("beforeunload", (event) => { if (busy) event.preventDefault(); });
