// The test of a service (preview, paste, camera, keys) and the Deploy dialog.
import { openCamera } from "./camera.js";
import { number } from "./display.js";
import { isTyping } from "./messages.js";
import "./question_page.js";

const MEGABYTE = 1024 * 1024;
const find = (id) => document.getElementById(id);

// --- the picture ---

const input = find("id_image");
const drop = document.querySelector("[data-drop]");
const form = find("prediction-form");
let previewUrl = "";

function refuse(sentence) {
  const line = document.createElement("p");
  line.className = "field-error";
  line.textContent = sentence;
  find("prediction-error").replaceChildren(line);
  input.value = "";
}

function showPicture() {
  const preview = drop.querySelector(".drop-preview");
  if (previewUrl) URL.revokeObjectURL(previewUrl);
  const file = input.files[0];
  previewUrl = file ? URL.createObjectURL(file) : "";
  preview.hidden = !file;
  drop.toggleAttribute("data-has-picture", Boolean(file));
  const name = document.querySelector("[data-drop-name]");
  const count = input.files.length;
  const several = ngettext("%(count)s image", "%(count)s images", count);
  const text = count > 1 ? interpolate(several, { count: number(count) }, true) : file?.name;
  name.textContent = name.title = text ?? gettext("No image chosen");
  if (file) preview.src = previewUrl;
  else preview.removeAttribute("src");
}

const hidePicture = () => {
  drop.querySelector(".drop-preview").hidden = true;
  drop.removeAttribute("data-has-picture");
};

function replaceAnswer(sentence) {
  const answer = find("prediction-result");
  delete answer.dataset.answer;
  answer.className = "test-empty";
  const words = document.createElement("p");
  words.className = "muted";
  words.textContent = sentence;
  answer.replaceChildren(words);
}

const isRunning = () => !find("prediction-reason");

const tooLarge = () =>
  input.files.length > 1
    ? gettext("“%(name)s” is larger than %(size)s MB. Choose a smaller image.")
    : gettext("The image is larger than %(size)s MB. Choose a smaller one.");

// A chosen image is predicted at once.
function useFiles() {
  find("prediction-error").replaceChildren();
  const most = Number(input.dataset.maxMb);
  const large = [...input.files].find((file) => file.size > most * MEGABYTE);
  if (large) refuse(interpolate(tooLarge(), { name: large.name, size: number(most) }, true));
  showPicture();
  if (input.files.length && isRunning()) predict();
  else replaceAnswer(gettext("The five best labels appear here."));
}

function predict() {
  replaceAnswer(gettext("Predicting …"));
  form.requestSubmit();
}

// Without an answer no “Predicting …” is left behind; the reason stands at the image or in a message. A request that
// a newer image replaces is aborted, which is neither of the two.
function endWithoutAnswer(event) {
  if (event.target !== form || (event.type === "htmx:afterRequest" && event.detail.xhr.status < 400)) return;
  replaceAnswer(gettext("No prediction. Press Predict to try again."));
}

function usePasted(event) {
  const picture = [...event.clipboardData.files].find((file) => file.type.startsWith("image/"));
  if (picture) use(picture);
}

function use(picture) {
  const list = new DataTransfer();
  list.items.add(picture);
  input.files = list.files;
  useFiles();
}

// Several answers: each beside its image; a click shows one alone.
function showTested(result) {
  for (const image of result.querySelectorAll("[data-tested-picture]")) {
    const file = input.files[Number(image.dataset.testedPicture)];
    if (!file) continue;
    image.src = URL.createObjectURL(file);
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    image.addEventListener("error", () => (image.hidden = true), { once: true }); // a format that only the server reads
  }
}

function showOne(event) {
  const button = event.target instanceof Element ? event.target.closest("[data-tested]") : null;
  const file = button && input.files[Number(button.dataset.tested)];
  if (!file) return;
  use(file);
}

if (input) {
  input.addEventListener("change", useFiles);
  drop.querySelector(".drop-preview").addEventListener("error", hidePicture);
  document.addEventListener("paste", usePasted);
  document.addEventListener("click", showOne);
  for (const kind of ["htmx:afterRequest", "htmx:sendError"]) form.addEventListener(kind, endWithoutAnswer);
  document.addEventListener("htmx:afterSettle", () => showTested(find("prediction-result")));
  find("camera").addEventListener("click", () => openCamera(use, refuse));
  for (const kind of ["dragenter", "dragover"]) input.addEventListener(kind, () => drop.setAttribute("data-over", ""));
  for (const kind of ["dragleave", "drop"]) input.addEventListener(kind, () => drop.removeAttribute("data-over"));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    if (event.key === "o") input.click();
    if (event.key === "p") find("prediction-button").click();
    if (event.key === "c") find("camera").click();
  });
  showPicture(); // the browser keeps the file over a reload
}

// --- dialogs ---

document.querySelector("dialog[data-open-now]")?.showModal();
for (const field of document.querySelectorAll("#change-dialog [aria-invalid=true]")) field.focus();
document.querySelector("#deploy-form [aria-invalid=true]")?.focus();
document.querySelector(".service-card[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });

document.addEventListener("submit", (event) => {
  if (!("once" in event.target.dataset)) return;
  if ("sent" in event.target.dataset) event.preventDefault();
  event.target.dataset.sent = "";
});

if (location.search.startsWith("?version=")) history.replaceState(null, "", location.pathname);
