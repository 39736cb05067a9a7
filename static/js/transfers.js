// The import form: uploads its files in parts with a progress bar, then opens the page of the import.
import { number } from "./display.js";
import { sendImport } from "./import_upload.js";
import { isWaiting, waitingText } from "./upload_retry.js";

const form = document.getElementById("import-form");
const begin = document.getElementById("import-begin");
const stop = document.getElementById("import-stop");
const problem = document.getElementById("uploads-problem");
const megabytes = (bytes) => `${number(bytes / 1e6, 1)} MB`;

let stopping = null;

function show(isSending) {
  begin.disabled = isSending;
  stop.hidden = !isSending;
  document.getElementById("import-sending").hidden = !isSending;
}

function showProblem(message) {
  problem.textContent = message;
  problem.hidden = !message;
  if (message) document.getElementById("uploads").focus();
}

let words = ""; // how much is uploaded

function showWords() {
  document.getElementById("import-words").textContent = isWaiting() ? waitingText() : words;
}

function progress(sent, total) {
  document.getElementById("import-progress").value = sent / total;
  const sizes = { sent: megabytes(sent), total: megabytes(total) };
  words = interpolate(gettext("%(sent)s of %(total)s uploaded"), sizes, true);
  showWords();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const files = [...document.getElementById("uploads").files];
  if (!files.length) return showProblem(gettext("Choose a zip archive, a manifest or a table."));
  const options = Object.fromEntries([...new FormData(form)].filter(([, value]) => typeof value === "string"));
  stopping = new AbortController();
  showProblem("");
  show(true);
  progress(0, files.reduce((sum, file) => sum + file.size, 0));
  try {
    const url = await sendImport(form.action, files, options, progress, stopping.signal);
    stopping = null;
    location.assign(url);
  } catch (error) {
    stopping = null;
    show(false);
    showProblem(error.message);
  }
});

document.addEventListener("upload:waiting", showWords);
stop.addEventListener("click", () => stopping?.abort());
window.addEventListener("beforeunload", (event) => stopping && event.preventDefault());
