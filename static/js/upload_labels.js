// Labels during an upload: from folders, from text files beside the images, or one label for all.
import { number } from "./display.js";
import { fetchAgain } from "./upload_retry.js";
import { filled, imagesText } from "./upload_texts.js";

const panel = () => document.getElementById("uploads");
const csrf = () => JSON.parse(document.body.getAttribute("hx-headers"))["x-csrftoken"];
const CHUNK = 500;
const MAX_FOLDERS = 6;
const MAX_NAME = 64;
const SPLITS = {
  TRAIN: (count) => ngettext("%(count)s training image", "%(count)s training images", count),
  EVAL: (count) => ngettext("%(count)s validation image", "%(count)s validation images", count),
  TEST: (count) => ngettext("%(count)s test image", "%(count)s test images", count),
};

const folderPath = (path) => path.split("/").slice(0, -1).join("/");
const stemOf = (path) => path.replace(/\.[^./]*$/, "").toLowerCase();
const BOX = /^\d+(\s+-?[\d.]+){4,}$/; // a line of YOLO beside an image is no label
const isText = (path) => /\.txt$/i.test(path);

// --- reading ---

// Text files beside an image, by the image's path without suffix; and all other entries.
export function pairTexts(entries) {
  const texts = new Map(entries.filter(({ path }) => isText(path)).map((entry) => [stemOf(entry.path), entry]));
  const rest = entries.filter(({ path }) => !isText(path));
  const stems = new Set(rest.map(({ path }) => stemOf(path)));
  for (const [stem, entry] of texts) {
    if (stems.has(stem)) continue;
    texts.delete(stem);
    rest.push(entry); // belongs to no image: the server refuses it with a reason
  }
  return { rest, texts };
}

async function linesOf(entry) {
  const text = await entry.file.text().catch(() => "");
  const lines = [...new Set(text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean))];
  return lines.every((line) => BOX.test(line)) ? [] : lines;
}

// What the folders of the entries say, as for an archive: a map of folder → { label, usage, name }. A folder that a
// system made, such as $RECYCLE.BIN, is missing in it.
export async function placeFolders(entries) {
  const folders = [...new Set(entries.map(({ path }) => folderPath(path)).filter(Boolean))];
  if (!folders.length) return new Map();
  const form = new FormData();
  form.set("folders", JSON.stringify(folders));
  const options = { method: "POST", body: form, headers: { Accept: "application/json", "X-CSRFToken": csrf() } };
  const response = await fetchAgain(panel().dataset.foldersUrl, options);
  const answer = response && !response.redirected ? await response.json().catch(() => ({})) : {};
  if (!answer.folders) throw new Error(answer.error ?? gettext("The folders could not be read. Try again."));
  return new Map(Object.entries(answer.folders));
}

export const isPlaced = (places, path) => !folderPath(path) || places.has(folderPath(path));
export const splitOf = (places, path) => places.get(folderPath(path))?.usage ?? "";

// The folder that is an entry's label; where one folder holds all, that folder.
function labelsByFolder(places) {
  const key = [...places.values()].some(({ label }) => label) ? "label" : "name";
  return (path) => places.get(folderPath(path))?.[key] ?? "";
}

// --- asking ---

// Resolves with a function from an entry to its labels, or with null if the dialog was cancelled.
export async function askForLabels(entries, texts, places) {
  const folders = new Map();
  const labelOf = labelsByFolder(places);
  for (const { path } of entries) folders.set(labelOf(path), (folders.get(labelOf(path)) ?? 0) + 1);
  const named = [...folders].filter(([folder]) => folder).sort(([, one], [, other]) => other - one);
  const tests = entries.filter(({ path }) => splitOf(places, path) === "TEST").length;
  if (!named.length && !texts.size && !tests) return () => [];
  const dialog = document.getElementById("upload-labels");
  fill(dialog, entries.length, named, texts.size);
  dialog.querySelector("[data-upload-splits]").textContent = splitsText(entries, places);
  askAboutTests(dialog, tests);
  const choice = await answerOf(dialog, texts.size ? "texts" : named.length > 1 ? "folders" : "none");
  if (tests && !dialog.querySelector("[name=keep-tests]").checked) useTests(places);
  const one = dialog.querySelector("[name=one-label]").value.trim();
  const kinds = {
    none: () => [],
    folders: ({ path }) => [labelOf(path)].filter(Boolean),
    texts: ({ path }) => (texts.has(stemOf(path)) ? linesOf(texts.get(stemOf(path))) : []),
    one: () => [one].filter(Boolean),
  };
  return kinds[choice] ?? null;
}

function askAboutTests(dialog, tests) {
  const line = dialog.querySelector("[data-upload-tests]");
  line.hidden = !tests;
  line.querySelector("[name=keep-tests]").checked = true;
  line.querySelector("[data-upload-test-count]").textContent = imagesText(tests);
}

// Images in folders that are called test are split as all others.
function useTests(places) {
  for (const [folder, place] of places) if (place.usage === "TEST") places.set(folder, { ...place, usage: "" });
}

function splitsText(entries, places) {
  const words = Object.entries(SPLITS).map(([split, text]) => {
    const images = entries.filter(({ path }) => splitOf(places, path) === split).length;
    return images ? filled(text(images), images) : "";
  });
  const found = words.filter(Boolean).join(", ");
  return found && interpolate(gettext("Splits from the folders: %(images)s."), { images: found }, true);
}

function fill(dialog, images, named, texts) {
  const words = named.slice(0, MAX_FOLDERS).map(([folder, count]) => `${folder} (${number(count)})`);
  if (named.length > MAX_FOLDERS) words.push(filled(gettext("%(count)s more"), named.length - MAX_FOLDERS));
  dialog.querySelector("[data-upload-count]").textContent = imagesText(images);
  dialog.querySelector("[data-upload-folders]").textContent = words.join(", ");
  const withText = ngettext("%(count)s with a text file beside it", "%(count)s with a text file beside them", texts);
  dialog.querySelector("[data-upload-texts]").textContent = filled(withText, texts);
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

// What is wrong with the length of a label's name, or "".
export function tooLong(name) {
  const length = [...name].length;
  const text = gettext("Use at most %(max)s characters; these are %(count)s.");
  return length > MAX_NAME ? interpolate(text, { max: number(MAX_NAME), count: number(length) }, true) : "";
}

document.addEventListener("input", ({ target }) => {
  const dialog = target.closest("#upload-labels");
  if (!dialog) return;
  const field = dialog.querySelector("[name=one-label]");
  const isOne = dialog.querySelector("[value=one]");
  if (target === field) isOne.checked = true;
  field.setCustomValidity(isOne.checked ? tooLong(field.value.trim()) : "");
});

// --- sending ---

const pending = new Map(); // image id → { labels, split, upload }
let isSending = false;

export const waitingLabels = () => pending.size;

export function want(upload) {
  if (!upload.image || !(upload.labels?.length || upload.split)) return;
  pending.set(upload.image, { labels: upload.labels, split: upload.split, upload });
}

// Sends pending labels in chunks; with `all` also an incomplete chunk. Resolves with whether any image was labeled.
export async function giveLabels(all, onProblem) {
  let isAny = false;
  while (!isSending && (pending.size >= CHUNK || (all && pending.size))) {
    isSending = true;
    const part = new Map([...pending].slice(0, CHUNK));
    const answer = await send(part);
    isSending = false;
    if (!answer) return isAny; // they stay pending until Retry
    for (const [image, { labels }] of part) if (pending.get(image)?.labels === labels) pending.delete(image);
    for (const [image, reason] of Object.entries(answer.problems)) onProblem(part.get(Number(image)).upload, reason);
    isAny ||= answer.labeled > 0;
  }
  return isAny;
}

async function send(part) {
  const form = new FormData();
  form.set("marks", JSON.stringify(Object.fromEntries([...part].map(([image, { labels }]) => [image, labels]))));
  form.set("splits", JSON.stringify(Object.fromEntries([...part].map(([image, { split }]) => [image, split]))));
  const options = { method: "POST", body: form, headers: { Accept: "application/json", "X-CSRFToken": csrf() } };
  const response = await fetchAgain(panel().dataset.labelsUrl, options);
  if (!response || response.redirected || response.status >= 500) return null;
  return response.ok ? response.json() : { problems: {}, labeled: 0 };
}
