// The form of an import: its files go in parts, with a bar, and then the page of the import opens.
import { sendImport } from "./import_upload.js";

const form = document.getElementById("import-form");
const begin = document.getElementById("import-begin");
const stop = document.getElementById("import-stop");
const problem = document.getElementById("uploads-problem");
const megabytes = (bytes) => `${(bytes / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} MB`;

let stopping = null;

function show(isSending) {
  begin.disabled = isSending;
  stop.hidden = !isSending;
  document.getElementById("import-sending").hidden = !isSending;
}

function tell(words) {
  problem.textContent = words;
  problem.hidden = !words;
  if (words) document.getElementById("uploads").focus();
}

function progress(sent, total) {
  document.getElementById("import-progress").value = sent / total;
  document.getElementById("import-words").textContent = `${megabytes(sent)} of ${megabytes(total)} uploaded`;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const files = [...document.getElementById("uploads").files];
  if (!files.length) return tell("Choose a zip archive, a manifest or a table.");
  const options = Object.fromEntries([...new FormData(form)].filter(([, value]) => typeof value === "string"));
  stopping = new AbortController();
  tell("");
  show(true);
  progress(0, files.reduce((sum, file) => sum + file.size, 0));
  try {
    const url = await sendImport(form.action, files, options, progress, stopping.signal);
    stopping = null;
    location.assign(url);
  } catch (trouble) {
    stopping = null;
    show(false);
    tell(trouble.message);
  }
});

stop.addEventListener("click", () => stopping?.abort());
window.addEventListener("beforeunload", (event) => stopping && event.preventDefault());
