// Labels while uploading: from folders, from text files beside the images, or one for all of them.
const panel = () => document.getElementById("uploads");
const csrf = () => JSON.parse(document.body.getAttribute("hx-headers"))["x-csrftoken"];
const AT_ONCE = 500;
const RETRY_AFTER_MS = [1000, 4000, 15000];
const NAMED = 6;

const folderOf = (path) => path.split("/").at(-2) ?? "";
const stemOf = (path) => path.replace(/\.[^./]*$/, "").toLowerCase();
const isText = (path) => /\.txt$/i.test(path);
const number = (value) => value.toLocaleString("en");

// --- what the files say ---

// Text files that lie beside an image, by its path without the ending; and all other entries.
export function pairTexts(entries) {
  const texts = new Map(entries.filter(({ path }) => isText(path)).map((entry) => [stemOf(entry.path), entry]));
  const rest = entries.filter(({ path }) => !isText(path));
  const stems = new Set(rest.map(({ path }) => stemOf(path)));
  for (const [stem, entry] of texts) {
    if (stems.has(stem)) continue;
    texts.delete(stem);
    rest.push(entry); // no label of anything: the server says what it is
  }
  return { rest, texts };
}

async function linesOf(entry) {
  const text = await entry.file.text().catch(() => "");
  return [...new Set(text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean))];
}

// --- asking ---

// Resolves with a function from an entry to its labels, or with null where the person thought better of it.
export async function askForLabels(entries, texts) {
  const folders = new Map();
  for (const { path } of entries) folders.set(folderOf(path), (folders.get(folderOf(path)) ?? 0) + 1);
  const named = [...folders].filter(([folder]) => folder).sort(([, one], [, other]) => other - one);
  if (!named.length && !texts.size) return () => [];
  const dialog = document.getElementById("upload-labels");
  fill(dialog, entries.length, named, texts.size);
  const choice = await answerOf(dialog, texts.size ? "texts" : named.length > 1 ? "folders" : "none");
  const one = dialog.querySelector("[name=one-label]").value.trim();
  const kinds = {
    none: () => [],
    folders: ({ path }) => [folderOf(path)].filter(Boolean),
    texts: ({ path }) => (texts.has(stemOf(path)) ? linesOf(texts.get(stemOf(path))) : []),
    one: () => [one].filter(Boolean),
  };
  return kinds[choice] ?? null;
}

function fill(dialog, images, named, texts) {
  const words = named.slice(0, NAMED).map(([folder, count]) => `${folder} (${number(count)})`);
  if (named.length > NAMED) words.push(`${number(named.length - NAMED)} more`);
  dialog.querySelector("[data-upload-count]").textContent = `${number(images)} ${images === 1 ? "image" : "images"}`;
  dialog.querySelector("[data-upload-folders]").textContent = words.join(", ");
  dialog.querySelector("[data-upload-texts]").textContent = `${number(texts)} with a text file beside them`;
  dialog.querySelector("[value=folders]").closest("label").hidden = !named.length;
  dialog.querySelector("[value=texts]").closest("label").hidden = !texts;
}

function answerOf(dialog, preset) {
  dialog.querySelector(`[value=${preset}]`).checked = true;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const chosen = () => dialog.querySelector("[name=upload-labels]:checked").value;
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "upload" ? chosen() : null), { once: true });
  });
}

document.addEventListener("input", (event) => {
  if (event.target.name !== "one-label") return;
  event.target.closest("dialog").querySelector("[value=one]").checked = true;
});

// --- giving ---

const pending = new Map(); // image id → { labels, upload }
let isGiving = false;

export const waitingLabels = () => pending.size;

export function want(upload) {
  if (!upload.image || !upload.labels?.length) return;
  pending.set(upload.image, { labels: upload.labels, upload });
}

// Give the labels that wait; with `all` also those of less than one portion. Resolves with whether any was given.
export async function giveLabels(all, onProblem) {
  let isAny = false;
  while (!isGiving && (pending.size >= AT_ONCE || (all && pending.size))) {
    isGiving = true;
    const part = new Map([...pending].slice(0, AT_ONCE));
    const answer = await send(part);
    isGiving = false;
    if (!answer) return isAny; // they wait for Retry
    for (const [image, { labels }] of part) if (pending.get(image)?.labels === labels) pending.delete(image);
    for (const [image, reason] of Object.entries(answer.problems)) onProblem(part.get(Number(image)).upload, reason);
    isAny ||= answer.labeled > 0;
  }
  return isAny;
}

async function send(part) {
  const form = new FormData();
  form.set("marks", JSON.stringify(Object.fromEntries([...part].map(([image, { labels }]) => [image, labels]))));
  for (let attempt = 0; ; attempt += 1) {
    const options = { method: "POST", body: form, headers: { Accept: "application/json", "X-CSRFToken": csrf() } };
    const response = await fetch(panel().dataset.labelsUrl, options).catch(() => null);
    if (response?.ok && !response.redirected) return response.json();
    if (response && response.status < 500 && !response.redirected) return { problems: {}, labeled: 0 };
    if (attempt >= RETRY_AFTER_MS.length) return null;
    await new Promise((wake) => setTimeout(wake, RETRY_AFTER_MS[attempt]));
  }
}
