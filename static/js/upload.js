// Uploads of files and folders, chosen or dropped, in three parallel requests. A refused file does not stop the others.
import { IMPORTED, sendImport } from "./import_upload.js";
import { listenForFiles } from "./upload_file_picker.js";
import { askForLabels, giveLabels, isPlaced, pairTexts, placeFolders, splitOf, tooLong, waitingLabels, want } from "./upload_labels.js";
import { isWaiting, mayTryAgain, pause, waitingText, wakeAll } from "./upload_retry.js";
import { addedText, filled, importingText, refusalText, runningText, STATES, TALLIES, unsavedText } from "./upload_texts.js";

const page = document.getElementById("label-data");
const panel = () => document.getElementById("uploads");
const url = panel().dataset.uploadUrl;
const maxMb = Number(panel().dataset.maxMb);
const csrf = JSON.parse(document.body.getAttribute("hx-headers"))["x-csrftoken"];

const PARALLEL = 3;
const BATCH_FILES = 32; // a request of 8 small files costs half as much again for each
const BATCH_BYTES = 2e6;
const MAX_ROWS = 200; // rows of refused and failed files; thousands would slow the page down
const byName = new Intl.Collator(undefined, { numeric: true });
const IGNORED = /^(\.|Thumbs\.db$|desktop\.ini$)/i;

// One upload: { file, name, state: waiting | sending | added | duplicate | restored | refused | failed, share, reason,
// image: id, labels: names, split }
let uploads = [];
let imports = []; // archives, manifests and tables: sent after all images
let waiting = [];
let active = 0;
let isStopped = false;
let addedSinceRefresh = 0;

const count = (...states) => uploads.filter((upload) => states.includes(upload.state)).length;
const isRunning = () => active > 0 || waiting.length > 0 || importing !== null;
let importing = null; // { sent, total, stop } of the files that go into an import

// --- adding files ---

async function add(entries) {
  const named = entries.filter(({ file, path }) => !path.split("/").some((part) => IGNORED.test(part)) && file.name);
  const places = await placeFolders(named).catch((problem) => report(problem.message));
  if (!places) return;
  const real = named.filter(({ path }) => isPlaced(places, path));
  const pictures = real.filter(({ path }) => !IMPORTED.test(path));
  const { rest, texts } = pairTexts(pictures);
  const labelsOf = rest.length ? await askForLabels(rest, texts, places) : () => [];
  if (!labelsOf || !real.length) return;
  imports.push(...real.filter(({ path }) => IMPORTED.test(path)).map(({ file }) => file));
  if (!isRunning()) forgetFinished();
  isStopped = false;
  const blank = { state: "waiting", share: 0, reason: "", image: null };
  const added = rest.map((entry) => ({
    ...blank,
    file: entry.file,
    name: entry.path,
    labels: [],
    split: splitOf(places, entry.path),
    labelsOf: () => labelsOf(entry),
  }));
  added.sort((one, other) => byName.compare(one.name, other.name)).forEach(enqueue);
  panel().hidden = false;
  show();
  fill();
  if (!isRunning()) finishUploads();
}

// A new upload counts its own files, and those that Retry would still send.
function forgetFinished() {
  uploads = uploads.filter((upload) => upload.state === "failed" && !upload.isFixed);
  document.getElementById("uploads-labeled").textContent = "";
  wasToggled = false;
}

function report(message) {
  uploads.push({ name: gettext("Folders"), state: "failed", reason: message, share: 1, file: { size: 0 }, isFixed: true });
  panel().hidden = false;
  show();
}

function enqueue(upload) {
  uploads.push(upload);
  if (upload.file.size > maxMb * 1024 * 1024) finish(upload, "refused", filled(gettext("The file is larger than %(count)s MB."), maxMb));
  else waiting.push(upload);
}

function nextBatch() {
  const batch = [];
  let bytes = 0;
  while (waiting.length && batch.length < BATCH_FILES && (!batch.length || bytes + waiting[0].file.size <= BATCH_BYTES)) {
    bytes += waiting[0].file.size;
    batch.push(waiting.shift());
  }
  return batch;
}

// --- sending ---

function fill() {
  while (active < PARALLEL && waiting.length) {
    active += 1;
    sendBatch(nextBatch()).finally(() => {
      active -= 1;
      fill();
      show();
      if (!isRunning()) finishUploads();
    });
  }
}

// All images are uploaded: send the remaining labels, then the imports.
async function finishUploads() {
  await sendLabels(true);
  refreshGrid();
  if (imports.length && !isStopped) await importAll();
  show();
}

async function sendLabels(all) {
  const isAny = await giveLabels(all, (upload, reason) => Object.assign(upload, { state: "unlabeled", reason }));
  if (isAny) refreshLater();
  show();
}

async function importAll() {
  const files = imports.splice(0);
  const stop = new AbortController();
  importing = { sent: 0, total: files.reduce((sum, file) => sum + file.size, 0), stop };
  const onProgress = (sent) => {
    importing.sent = sent;
    show();
  };
  show();
  try {
    const address = await sendImport(panel().dataset.importUrl, files, { asks: "on" }, onProgress, stop.signal);
    importing = null;
    location.assign(address);
  } catch (error) {
    importing = null;
    for (const file of files) uploads.push({ name: file.name, state: "refused", reason: error.message, share: 1, file });
  }
}

async function sendBatch(batch) {
  for (let attempt = 0; ; attempt += 1) {
    for (const upload of batch) Object.assign(upload, { state: "sending", share: 0 });
    const answer = await request(batch);
    if (answer.outcomes) {
      await Promise.all(batch.map((upload, index) => applyOutcome(upload, answer.outcomes[index])));
      sendLabels(false);
      return;
    }
    if (isStopped) return batch.forEach((upload) => finish(upload, "failed", gettext("Stopped.")));
    if (!mayTryAgain(answer.status, attempt)) return batch.forEach((upload) => finish(upload, "failed", answer.reason));
    for (const upload of batch) Object.assign(upload, { state: "waiting", share: 0 });
    await pause(attempt, answer.retryAfter);
    if (isStopped) return batch.forEach((upload) => finish(upload, "failed", gettext("Stopped.")));
  }
}

const running = new Set();

// Resolves with { outcomes } or { reason, status, retryAfter }.
function request(batch) {
  return new Promise((resolve) => {
    const body = new FormData();
    for (const { file } of batch) body.append("files", file, file.name);
    const xhr = new XMLHttpRequest();
    xhr.open("POST", url);
    xhr.setRequestHeader("Accept", "application/json");
    xhr.setRequestHeader("X-CSRFToken", csrf);
    xhr.upload.addEventListener("progress", (event) => progress(batch, event));
    xhr.addEventListener("load", () => resolve(readResponse(xhr)));
    xhr.addEventListener("error", () => resolve({ reason: gettext("No connection to the server."), status: 0 }));
    xhr.addEventListener("abort", () => resolve({ reason: gettext("Stopped."), status: 400 }));
    xhr.addEventListener("loadend", () => running.delete(xhr));
    running.add(xhr);
    xhr.send(body);
  });
}

function readResponse(xhr) {
  if (xhr.status === 200 && !xhr.responseURL.includes("/sign-in/")) {
    try {
      return { outcomes: JSON.parse(xhr.responseText).outcomes };
    } catch {
      return { reason: gettext("The server’s answer could not be read."), status: 500 };
    }
  }
  const reason = xhr.status >= 500 ? gettext("The server could not store the file.") : refusalText(xhr.status);
  return { reason, status: xhr.status, retryAfter: xhr.getResponseHeader("Retry-After") };
}

// The bytes sent of a batch are distributed over its files in order.
function progress(batch, event) {
  let sent = event.loaded;
  for (const upload of batch) {
    upload.share = Math.min(1, Math.max(0, sent / Math.max(1, upload.file.size)));
    sent -= upload.file.size;
  }
  show();
}

async function applyOutcome(upload, outcome) {
  if (!outcome) return finish(upload, "failed", gettext("The server did not answer for this file."));
  if (outcome.status === "added" || outcome.status === "restored") addedSinceRefresh += 1;
  upload.image = outcome.image;
  if (!upload.labels.length) upload.labels = await upload.labelsOf();
  want(upload);
  finish(upload, outcome.status, outcome.reason);
}

function finish(upload, state, reason) {
  Object.assign(upload, { state, reason, share: 1 });
  if (state !== "failed") upload.file = { size: upload.file.size }; // releases the file's memory
}

function retry() {
  isStopped = false;
  for (const upload of uploads) {
    if (upload.state !== "failed" || upload.isFixed) continue;
    upload.state = "waiting";
    waiting.push(upload);
  }
  show();
  fill();
  if (!isRunning()) finishUploads();
}

function stop() {
  isStopped = true;
  imports = [];
  importing?.stop.abort();
  for (const upload of waiting.splice(0)) finish(upload, "failed", gettext("Stopped."));
  for (const xhr of running) xhr.abort();
  wakeAll();
  show();
}

// --- the grid ---

const refreshLater = () => {
  addedSinceRefresh += 1;
};

function refreshGrid() {
  if (!addedSinceRefresh) return;
  addedSinceRefresh = 0;
  page.dispatchEvent(new CustomEvent("label-data:refresh", { bubbles: true, detail: { isGentle: true } }));
}

setInterval(() => isRunning() && refreshGrid(), 4000);

// --- the panel: drawn at most once per frame ---

let isDrawing = false;

function show() {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    draw();
  });
}

document.addEventListener("upload:waiting", show);

function summary() {
  if (isWaiting()) return waitingText();
  if (importing) return importingText(importing.sent / importing.total);
  const parts = [isRunning() ? runningText(uploads.length - count("waiting", "sending"), uploads.length) : addedText(count("added", "unlabeled"))];
  for (const [state, text] of Object.entries(TALLIES)) if (count(state)) parts.push(filled(text(count(state)), count(state)));
  if (!isRunning() && waitingLabels()) parts.push(unsavedText(waitingLabels()));
  return parts.join(" · ");
}

function draw() {
  const shares = uploads.reduce((sum, upload) => sum + (upload.state === "waiting" ? 0 : upload.share), 0);
  const bar = document.getElementById("uploads-progress");
  bar.value = importing ? importing.sent / importing.total : uploads.length ? shares / uploads.length : 0;
  bar.hidden = !isRunning();
  const words = document.getElementById("uploads-words");
  if (words.textContent !== summary()) words.textContent = summary();
  panel().querySelector("[data-uploads-retry]").hidden = isRunning() || !(count("failed") || waitingLabels());
  panel().querySelector("[data-uploads-stop]").hidden = !isRunning();
  panel().querySelector("[data-uploads-close]").hidden = isRunning();
  panel().querySelector("[data-uploads-labels]").hidden = !uploads.some((upload) => upload.file || upload.image);
  if ((count("refused", "failed", "unlabeled") || uploads.some(hasNote)) && !wasToggled) open(true);
  drawList();
}

function drawList() {
  const list = document.getElementById("uploads-list");
  if (list.hidden) return;
  const sending = uploads.filter((upload) => upload.state === "sending");
  const finished = uploads.filter((upload) => hasNote(upload) || !["sending", "waiting", "added"].includes(upload.state));
  const rows = [...sending, ...finished.slice(0, MAX_ROWS)].map(row);
  if (finished.length > MAX_ROWS) rows.push(line(filled(gettext("and %(count)s more"), finished.length - MAX_ROWS)));
  if (!rows.length) rows.push(line(isRunning() ? gettext("Starting…") : gettext("All files were added.")));
  list.replaceChildren(...rows);
}

function line(words) {
  const item = document.createElement("li");
  item.className = "upload muted";
  item.textContent = words;
  return item;
}

// Added, and there is something to say: of a file with several pages only the first is used.
const hasNote = (upload) => upload.state === "added" && upload.reason !== "";

function row(upload) {
  const item = document.createElement("li");
  item.className = `upload upload-${upload.state}`;
  const name = document.createElement("span");
  name.className = "cut";
  name.textContent = name.title = upload.name;
  item.append(name);
  if (upload.state === "sending") {
    const bar = document.createElement("progress");
    bar.value = upload.share;
    bar.setAttribute("aria-label", interpolate(gettext("Upload of %(file)s"), { file: upload.name }, true));
    item.append(bar);
  } else {
    const state = document.createElement("span");
    state.className = "upload-state";
    state.textContent = [STATES[upload.state], upload.reason].filter(Boolean).join(" ");
    item.append(state);
  }
  return item;
}

let wasToggled = false;

function close() {
  panel().hidden = true;
  uploads = [];
  document.getElementById("uploads-labeled").textContent = "";
  wasToggled = false;
  open(false);
}

function open(isOpen) {
  document.getElementById("uploads-list").hidden = !isOpen;
  panel().querySelector("[data-uploads-toggle]").setAttribute("aria-expanded", String(isOpen));
}

// --- buttons ---

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-uploads-retry]")) retry();
  if (event.target.closest("[data-uploads-stop]")) stop();
  if (event.target.closest("[data-uploads-close]")) close();
  if (event.target.closest("[data-uploads-toggle]")) {
    wasToggled = true;
    open(document.getElementById("uploads-list").hidden);
    draw();
  }
});

// One label for all images of this upload, also for those that have arrived already.
document.getElementById("uploads-label").addEventListener("keydown", (event) => {
  const name = event.target.value.trim();
  if (event.key !== "Enter" || !name) return;
  event.preventDefault();
  const problem = tooLong(name);
  event.target.setAttribute("aria-invalid", String(problem !== ""));
  if (problem) return (document.getElementById("uploads-labeled").textContent = problem);
  for (const upload of uploads) {
    upload.labels = [name];
    want(upload);
  }
  event.target.value = "";
  const labeling = interpolate(gettext("Labeling all as “%(label)s” …"), { label: name }, true);
  document.getElementById("uploads-labeled").textContent = labeling;
  if (!isRunning()) finishUploads();
});

listenForFiles(add);

window.addEventListener("beforeunload", (event) => (isRunning() || waitingLabels()) && event.preventDefault());
