// Label Data: deeds are sent one after the other, and the grid is renewed from the last answer.
import { Enlarged } from "./label-data-enlarge.js";
import { Grid } from "./label-data-grid.js";
import { Pane, labels } from "./label-data-pane.js";
import { isTyping } from "./words.js";

const page = document.getElementById("label-data");
const urls = page.dataset;
const isMulti = "multiLabel" in urls;
const canLabel = "labelUrl" in urls;
const grid = new Grid();
const pane = new Pane(grid);
const enlarged = new Enlarged(grid);

const here = () => document.getElementById("bench-head").dataset.here;
const tab = () => document.getElementById("bench").dataset.tab;
const dialogIsOpen = () => document.querySelector("dialog[open]") !== null;

// --- sending ---

let applied = null; // what OK sent last
let refused = null; // what the server did not take
let queue = Promise.resolve();
let waiting = 0;

function send(verb, url, values = {}, swap = "outerHTML") {
  waiting += 1;
  queue = queue
    .then(() => htmx.ajax(verb, `${url}?${here()}`, { source: "#label-data", target: "#grid", swap, values }))
    .catch(() => refresh())
    .finally(() => {
      waiting -= 1;
    });
  return queue;
}

// An upload or another person changed something. Whoever is selecting keeps the grid as it is.
function refresh(isGentle = false) {
  const isBusy = isGentle && (grid.selected.size > 0 || grid.hasFocus());
  document.getElementById("uploads-show")?.toggleAttribute("hidden", !isBusy);
  return send("GET", urls.gridUrl, {}, isBusy ? "none" : "outerHTML");
}

document.addEventListener("label-data:refresh", (event) => refresh(event.detail?.isGentle ?? false));

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, target, requestConfig } = event.detail;
  const isDeed = target?.id === "grid" && requestConfig.elt.id === "label-data";
  if (isDeed && xhr.status === 422) refused = applied;
  if (isDeed && waiting > 1 && xhr.status === 200) event.detail.shouldSwap = false; // a later answer is newer
});

// What somebody types into All Labels is not swept away by a renewal, unless it was just sent.
let wasSubmitted = false;
document.addEventListener(
  "submit",
  (event) => {
    wasSubmitted = event.target.closest("#all-labels") !== null;
  },
  true,
);
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const { target } = event.detail;
  const field = document.activeElement;
  if (wasSubmitted || target?.id !== "all-labels" || !target.contains(field)) return;
  if (isTyping(field) && field.value) event.detail.shouldSwap = false;
});

document.addEventListener("htmx:responseError", () => setTimeout(refresh, 0));

function renewed() {
  grid.restore();
  if (refused) {
    grid.select(refused.ids.filter((id) => grid.tile(id)));
    pane.takeBack(refused.names);
    refused = applied = null;
  }
  pane.show();
  enlarged.renew();
}

document.addEventListener("htmx:afterSwap", renewed); // before the browser draws the new grid
document.addEventListener("htmx:afterSettle", (event) => {
  wasSubmitted = false;
  renewed(); // Back comes without afterSwap
  const field = document.querySelector("[data-select]");
  if (field && event.detail.target?.id === "all-labels") {
    field.focus();
    field.select();
  }
});

// --- deeds ---

// The selected images or, where nothing is selected, the one with the focus.
const subjects = () => (grid.selected.size ? [...grid.selected] : grid.focused ? [grid.focused] : []);

function label(ids, add, { remove = [], stays = false } = {}) {
  if (!canLabel || tab() === "bin" || !ids.length || !(add.length || remove.length)) return;
  const values = { images: ids.join(","), add, remove };
  if (stays) values.stays = "on";
  else moveOn(ids, tab() === "unlabeled" && add.length > 0);
  send("POST", urls.labelUrl, values);
}

// The focus goes on to the next image at once; images that leave the tab need not wait for the answer.
function moveOn(ids, isLeaving) {
  grid.moveOn(ids, isLeaving);
  enlarged.moveOn(ids);
}

function give(wanted) {
  const ids = enlarged.isOpen ? [enlarged.id] : subjects();
  if (!wanted || !ids.length) return;
  if (!isMulti) return label(ids, [wanted.name]);
  const allHave = ids.every((id) => grid.labelsOf(id).includes(wanted.id));
  label(ids, allHave ? [] : [wanted.name], { remove: allHave ? [wanted.name] : [], stays: true });
}

const giveByKey = (key) => give(labels().find((one) => one.key === key));

pane.onGive = give;
enlarged.onGive = give;
pane.onApply = (names) => {
  applied = { names, ids: [...grid.selected] };
  label(applied.ids, names);
};
pane.onRemove = (name) => label(subjects(), [], { remove: [name], stays: true });
enlarged.onRemove = (id, name) => label([id], [], { remove: [name], stays: true });

function askToDelete() {
  const ids = enlarged.isOpen ? [enlarged.id] : subjects();
  const dialog = document.getElementById("delete-dialog");
  if (!ids.length || !dialog || tab() === "bin") return;
  dialog.querySelector("[data-delete-count]").textContent = ids.length === 1 ? "1 image" : `${ids.length} images`;
  dialog.dataset.ids = ids.join(",");
  dialog.showModal();
}

function deleteImages() {
  const dialog = document.getElementById("delete-dialog");
  const ids = dialog.dataset.ids.split(",");
  dialog.close();
  moveOn(ids, true);
  send("POST", urls.deleteUrl, { images: ids.join(",") });
}

function restoreImages() {
  const ids = subjects();
  if (!ids.length) return;
  moveOn(ids, true);
  send("POST", urls.restoreUrl, { images: ids.join(",") });
}

function showNew() {
  grid.select([]);
  refresh();
}

const undo = (event = "") => canLabel && send("POST", urls.undoUrl, { event });

// --- pointer and keys ---

document.addEventListener("click", (event) => {
  const target = event.target;
  if (target.closest("[data-select-page]")) grid.selectAll();
  else if (target.closest("[data-delete]")) askToDelete();
  else if (target.closest("[data-enlarge]")) enlarged.open(grid.ids().find((id) => grid.selected.has(id)));
  else if (target.closest("[data-delete-confirm]")) deleteImages();
  else if (target.closest("[data-restore]")) restoreImages();
  else if (target.closest("[data-undo]")) undo(target.closest("[data-undo]").dataset.undo);
  else if (target.closest("#uploads-show")) showNew();
  else if (target.closest("[data-notice-close]")) document.getElementById("notice").replaceChildren();
  else if (target.closest("#label-dialog [data-dialog-close]")) event.preventDefault();
});

document.addEventListener("dblclick", (event) => {
  const tile = event.target.closest(".tile");
  if (tile) enlarged.open(tile.dataset.image);
});

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey) return;
  const isCommand = event.ctrlKey || event.metaKey;
  if (event.key === "Escape" && event.target.closest("#rename-form")) {
    document.querySelector("[data-rename-cancel]")?.click();
    return;
  }
  if (isTyping(event.target)) return;
  if (isCommand && !event.shiftKey && event.key.toLowerCase() === "z" && canLabel) undo();
  else if (isCommand) return;
  else if (/^[1-9]$/.test(event.key) && (!dialogIsOpen() || enlarged.isOpen)) giveByKey(event.key);
  else if (event.key === "Delete" && (!dialogIsOpen() || enlarged.isOpen)) askToDelete();
  else if (dialogIsOpen()) return;
  else if (event.key === "Enter" && event.target.closest(".tile")) enlarged.open(grid.focused);
  else if (event.key.toLowerCase() === "l" && document.getElementById("label-input")) document.getElementById("label-input").focus();
  else if (event.key === "/") document.getElementById("search")?.focus();
  else return;
  event.preventDefault();
});

// What went well need not be dismissed; Ctrl+Z and the pane still take it back. Refusals stay until read.
const NOTICE_MS = 10_000;
document.addEventListener("htmx:oobAfterSwap", (event) => {
  const box = event.detail.target.id === "notice" && document.querySelector("#notice .notice-success, #notice .notice-info");
  if (!box) return;
  const leave = () => (box.matches(":hover, :focus-within") ? setTimeout(leave, 1000) : box.remove());
  setTimeout(leave, NOTICE_MS);
});

// The dialog that asks before a label is deleted opens when its words have arrived, and closes when it is done.
document.addEventListener("htmx:afterSwap", (event) => {
  const dialog = document.getElementById("label-dialog");
  if (event.detail.target?.id === "label-dialog-body") dialog.showModal();
  else if (dialog?.open) dialog.close();
});

grid.restore();
pane.show();
