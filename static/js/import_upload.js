// Uploads the files of an import in parts. A failed part is sent again; parts that arrived are not.
import { fetchAgain } from "./upload_retry.js";

const PARALLEL = 3;
export const ARCHIVE = /\.zip$/i;
export const IMPORTED = /\.(exeml\.tar|zip|manifest|jsonl|ndjson|json|xml|csv|tsv)$/i;

const csrf = () => JSON.parse(document.body.getAttribute("hx-headers"))["x-csrftoken"];

// Resolves with the URL of the import. Rejects with an Error whose message is for the user; `signal` aborts.
export async function sendImport(url, files, options, onProgress, signal) {
  const form = new FormData();
  for (const [name, value] of Object.entries(options)) form.set(name, value);
  form.set("file_list", JSON.stringify(files.map(({ name, size, lastModified }) => ({ name, size, modified: lastModified }))));
  const state = await answer(await post(url, form, signal));
  await sendParts(files, state, onProgress, signal);
  const started = await answer(await post(state.begin_url, new FormData(), signal));
  return started.url;
}

async function sendParts(files, state, onProgress, signal) {
  const waiting = state.missing.flatMap((numbers, file) => numbers.map((number) => ({ file, number })));
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const left = waiting.reduce((sum, { file, number }) => sum + Math.min(state.part_bytes, files[file].size - number * state.part_bytes), 0);
  let sent = total - left; // bytes that arrived before an interruption
  const work = async () => {
    for (let part = waiting.shift(); part; part = waiting.shift()) {
      const start = part.number * state.part_bytes;
      const content = files[part.file].slice(start, start + state.part_bytes);
      const url = state.part_url.replace("/parts/0/0/", `/parts/${part.file}/${part.number}/`);
      await answer(await post(url, content, signal));
      sent += content.size;
      onProgress(sent, total);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
}

async function post(url, body, signal) {
  const options = { method: "POST", body, signal, headers: { Accept: "application/json", "X-CSRFToken": csrf() } };
  const response = await fetchAgain(url, options).catch(() => {
    throw new Error(gettext("Stopped."));
  });
  if (!response) throw new Error(gettext("No connection to the server. Try again: uploaded parts are kept."));
  return response;
}

async function answer(response) {
  if (response.redirected) throw new Error(gettext("You are signed out. Sign in again in another tab, then retry."));
  if (response.status === 204) return {};
  const content = await response.json().catch(() => ({}));
  if (response.ok) return content;
  throw new Error(content.error ?? gettext("The server refused the file."));
}
