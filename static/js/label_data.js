// Label Data: actions are sent one by one, and the grid is refreshed from the last answer.
import { number } from "./display.js";
import { DragSelect } from "./label_data_drag_select.js";
import { ActionQueue } from "./label_data_actions.js";
import { Enlarged } from "./label_data_enlarge.js";
import { Grid } from "./label_data_grid.js";
import { arrangeLabels } from "./label_data_labels.js";
import { Metadata } from "./label_data_metadata.js";
import { Pane, labels } from "./label_data_pane.js";
import { Presence } from "./label_data_presence.js";
import { InfiniteScroll } from "./label_data_infinite_scroll.js";
import { shownOn } from "./label_data_seen.js";
import { question } from "./label_data_questions.js";
import { isTyping, say } from "./messages.js";
import { ask } from "./question.js";

const page = document.getElementById("label-data");
const urls = page.dataset;
const isMulti = "multiLabel" in urls;
const canLabel = "labelUrl" in urls;
const grid = new Grid();
const pane = new Pane(grid);
const enlarged = new Enlarged(grid);
const metadata = new Metadata(grid);
const scroll = new InfiniteScroll(urls.gridUrl, () => grid.paint());
new DragSelect(grid);

const here = () => scroll.here();
const tab = () => document.getElementById("bench").dataset.tab;
const dialogIsOpen = () => document.querySelector("dialog[open]") !== null;

// --- sending ---

const csrf = JSON.parse(document.body.getAttribute("hx-headers"))["x-csrftoken"];
const actions = new ActionQueue(`exeml-deeds-${urls.user}-${location.pathname}`, csrf);
let refused = null; // labels that the server refused: { ids, names }
let refreshing = Promise.resolve();
let presence = null; // the other people in the project, and what changed elsewhere

const send = (url, values = {}, query = here()) => actions.add(url, query, values);

// Only the last of several answers is drawn, since it is the newest.
actions.onAnswer = (html, status, isLast, action) => {
  if (status === 422 && action.values.add) refused = { ids: String(action.values.images ?? "").split(","), names: [action.values.add].flat() };
  const before = presence.last;
  presence.catchUp(Number(/data-last-event="(\d+)"/.exec(html)?.[1] ?? 0));
  if (!isLast && status === 200) return;
  const restorePosition = keepPosition();
  const restoreTiles = scroll.keepTiles();
  const afterSwap = () => {
    if (restoreTiles()) presence.refreshTiles(before);
    afterRefresh();
  };
  htmx.swap("#grid", html, { swapStyle: "outerHTML", swapDelay: 0, settleDelay: 20 }, { contextElement: page, afterSwapCallback: afterSwap });
  restorePosition();
  if (status === 422 && action.url === urls.createUrl && !isLast) sayNotAdded(action.values.name);
};

// The next answer draws the form again, without the error.
function sayNotAdded(name) {
  const reason = document.getElementById("new-label-error")?.textContent ?? "";
  say(interpolate(gettext("“%(name)s” was not added. %(reason)s"), { name, reason }, true), "error");
}

actions.onRefused = (action, reason) => {
  say(interpolate(gettext("A change was not made. %(reason)s"), { reason }, true), "error");
  refresh();
};

// Keeps the focused tile at its position on screen although the grid starts with another image.
function keepPosition() {
  const middle = document.querySelector(".middle");
  const tile = grid.tile(grid.focused);
  const top = tile?.getBoundingClientRect().top;
  return () => {
    const again = grid.tile(grid.focused);
    if (again && top !== undefined && middle?.isConnected) middle.scrollTop += again.getBoundingClientRect().top - top;
  };
}

function get(swap) {
  refreshing = refreshing
    .then(() => htmx.ajax("GET", `${urls.gridUrl}?${here()}`, { source: "#label-data", target: "#grid", swap }))
    .catch(() => {});
  return refreshing;
}

// After an upload or another person's change. A gentle refresh leaves the grid alone while the user selects.
function refresh(isGentle = false) {
  const isBusy = isGentle && (grid.selected.size > 0 || grid.hasFocus() || !actions.isIdle);
  document.getElementById("uploads-show")?.toggleAttribute("hidden", !isBusy);
  return get(isBusy ? "none" : "outerHTML");
}

document.addEventListener("label-data:refresh", (event) => refresh(event.detail?.isGentle ?? false));

// New labels are queued as all actions are, so the next one can be typed at once.
document.addEventListener(
  "submit",
  (event) => {
    if (!event.target.matches(".new-label")) return;
    event.preventDefault();
    event.stopPropagation();
    const field = event.target.elements.name;
    const name = field.value;
    field.value = "";
    send(urls.createUrl, { name });
  },
  true,
);

function afterRefresh() {
  grid.restore();
  scroll.observeEnd();
  if (refused) {
    grid.select(refused.ids.filter((id) => grid.tile(id)));
    pane.restoreNames(refused.names);
    refused = null;
  }
  pane.show();
  metadata.show();
  enlarged.refresh();
  presence?.showPeople();
  arrangeLabels();
}

document.addEventListener("htmx:afterSwap", afterRefresh); // before the browser draws the new grid
document.addEventListener("htmx:afterSettle", (event) => {
  const field = document.querySelector("[data-select]");
  if (field && event.detail.target?.id === "all-labels") {
    field.focus();
    field.select();
  }
});

// --- actions ---

// The selected images, or the focused one if none is selected. A focused image that was scrolled away is shown first.
function subjects() {
  if (grid.selected.size) return [...grid.selected];
  return grid.focused && grid.showFocused() ? [grid.focused] : [];
}

// The form values that tell the server which images an action is about.
const isAll = () => grid.isMatching && !enlarged.isOpen;
const about = (ids) => (isAll() ? { matching: "on", count: grid.matching } : { images: ids.join(",") });

// The same, with what the page shows of them: the server leaves those that are different by now.
function aboutSeen(ids) {
  const tiles = ids.map(grid.tile).filter((tile) => tile !== null);
  const seen = tiles.map(shownOn).join(",");
  return isAll() ? { matching: "on", count: grid.matching, seen } : { seen };
}

// An action on all that match is also about images that were never on the screen, so it asks first.
async function isWanted(action, what) {
  if (!isAll()) return true;
  const total = grid.matching;
  const isMeant = await ask(question(action, total, grid.seenTiles().length, what));
  return isMeant && grid.matching === total; // the selection may be gone: the grid was refreshed meanwhile
}

async function applyLabels(ids, add, { remove = [], stays = false } = {}) {
  if (!canLabel || tab() === "bin" || !ids.length || !(add.length || remove.length)) return;
  if (!(await isWanted(add.length ? "label" : "remove", (add.length ? add : remove).join(", ")))) return;
  const values = { ...about(ids), add, remove };
  if (stays && !isAll()) values.stays = "on";
  else moveOn(ids, tab() !== "labeled" && tab() !== "all" && add.length > 0);
  send(urls.labelUrl, values);
}

// Accepts the suggestions of the selected images, or of all images of the page that were on the screen.
async function confirm() {
  if (!canLabel || tab() === "bin") return;
  const ids = grid.confirmable(enlarged.isOpen && enlarged.id).map((tile) => tile.dataset.image);
  if (!ids.length || !(await isWanted("confirm"))) return;
  const values = aboutSeen(ids);
  moveOn(ids, isProposing());
  send(urls.confirmUrl, values);
}

// Whether images leave the tab once their suggestion is confirmed or refused.
const isProposing = () => tab() === "suggested" || tab() === "unlabeled" || here().includes("check=suspects");

// Accepts one label's suggestions, also those that were not on the screen; for these it asks first.
async function confirmGroup({ confirmGroup, above, count }) {
  const query = new URLSearchParams({ tab: "suggested", suggestion: confirmGroup });
  if (above) query.set("above", above);
  const isInGroup = ({ dataset }) => dataset.suggestion === confirmGroup && Number(dataset.percent) >= 100 * Number(above ?? 0);
  const total = Number(count);
  const seen = grid.tiles().filter((tile) => isInGroup(tile) && grid.seen.has(tile));
  const { name } = labels().find((label) => label.id === confirmGroup);
  if (seen.length < total && !(await ask(question("label", total, seen.length, name)))) return;
  const tiles = grid.tiles().filter(isInGroup);
  grid.select([]);
  const values = { matching: "on", count, seen: tiles.map(shownOn).join(",") };
  moveOn(tiles.map((tile) => tile.dataset.image), true);
  send(urls.confirmUrl, values, query.toString());
}

async function refuse() {
  const chosen = enlarged.isOpen ? [enlarged.id] : subjects();
  const ids = chosen.filter((id) => grid.tile(id)?.dataset.suggestion);
  if (!canLabel || !ids.length || !(await isWanted("reject"))) return;
  const values = aboutSeen(ids);
  moveOn(ids, tab() === "suggested" || here().includes("check=suspects"));
  send(urls.refuseUrl, values);
}

// Moves the focus to the next image at once; images that leave the tab do not wait for the answer.
function moveOn(ids, isLeaving) {
  grid.moveOn(ids, isLeaving);
  enlarged.moveOn(ids);
}

function give(label) {
  const ids = enlarged.isOpen ? [enlarged.id] : subjects();
  if (!label || !ids.length) return;
  if (!isMulti) return applyLabels(ids, [label.name]);
  const allHave = ids.every((id) => grid.labelsOf(id).includes(label.id));
  applyLabels(ids, allHave ? [] : [label.name], { remove: allHave ? [label.name] : [], stays: true });
}

const giveByKey = (key) => give(labels().find((label) => label.key === key));

pane.onGive = give;
enlarged.onGive = give;
pane.onApply = (names) => applyLabels([...grid.selected], names);
pane.onRemove = (name) => applyLabels(subjects(), [], { remove: [name], stays: true });
enlarged.onRemove = (id, name) => applyLabels([id], [], { remove: [name], stays: true });

metadata.onSet = async (column, value) => {
  const ids = [...grid.selected];
  if (ids.length && (await isWanted("set", column))) send(urls.metadataUrl, { ...about(ids), column, value });
};

// Sends a reviewer's verdict on the labels of the selected images.
async function review(verdict) {
  const ids = subjects();
  if (!ids.length || !(await isWanted(verdict === "confirm" ? "confirmLabels" : "removeLabels"))) return;
  send(urls.reviewUrl, { ...aboutSeen(ids), verdict });
}

// Keeps the selected images as test images ("TEST"), or uses them for training and validation ("none").
async function setSplit(split) {
  const ids = subjects();
  if (!ids.length || !(await isWanted(split === "TEST" ? "keepAsTest" : "useForTraining"))) return;
  send(urls.splitUrl, { ...about(ids), split });
}

function askToDelete() {
  const ids = enlarged.isOpen ? [enlarged.id] : subjects();
  const dialog = document.getElementById("delete-dialog");
  if (!ids.length || !dialog || tab() === "bin") return;
  const count = enlarged.isOpen ? 1 : grid.count || 1;
  const title = ngettext("Delete %(count)s image?", "Delete %(count)s images?", count);
  document.getElementById("delete-title").textContent = interpolate(title, { count: number(count) }, true);
  dialog.dataset.ids = ids.join(",");
  dialog.showModal();
}

function deleteImages() {
  const dialog = document.getElementById("delete-dialog");
  const ids = dialog.dataset.ids.split(",");
  dialog.close();
  const values = about(ids);
  moveOn(ids, true);
  send(urls.deleteUrl, values);
}

async function restoreImages() {
  const ids = subjects();
  if (!ids.length || !(await isWanted("restore"))) return;
  const values = about(ids);
  moveOn(ids, true);
  send(urls.restoreUrl, values);
}

function showNew() {
  grid.select([]);
  refresh();
}

const undo = (event = "") => canLabel && send(urls.undoUrl, { event });
const redo = () => canLabel && urls.redoUrl && send(urls.redoUrl);

// --- pointer and keys ---

// With images selected a label's name gives the label; else its link shows the label's images.
document.addEventListener(
  "click",
  (event) => {
    const row = event.target.closest?.(".label-name")?.closest(".label-row");
    const isPlain = !event.ctrlKey && !event.metaKey && !event.shiftKey;
    if (!row || !isPlain || !canLabel || tab() === "bin" || !grid.count) return;
    event.preventDefault();
    event.stopPropagation();
    give(labels().find((label) => label.id === row.dataset.label));
  },
  true,
);

document.addEventListener("click", (event) => {
  const target = event.target;
  if (target.closest("[data-select-page]")) grid.selectPage();
  else if (target.closest("[data-select-matching]")) grid.selectMatching(Number(target.closest("[data-select-matching]").dataset.total));
  else if (target.closest("[data-confirm]")) confirm();
  else if (target.closest("[data-refuse]")) refuse();
  else if (target.closest("[data-confirm-group]")) confirmGroup(target.closest("[data-confirm-group]").dataset);
  else if (target.closest("[data-review]")) review(target.closest("[data-review]").dataset.review);
  else if (target.closest("[data-split]")) setSplit(target.closest("[data-split]").dataset.split);
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
  const isFree = !dialogIsOpen() || enlarged.isOpen;
  const key = event.key.toLowerCase();
  if (isCommand && key === "z" && canLabel) event.shiftKey ? redo() : undo();
  else if (isCommand && key === "y" && canLabel) redo();
  else if (isCommand || event.repeat) return; // a key held down acts once
  else if (/^[0-9a-z]$/.test(key) && isFree) giveByKey(key);
  else if ((key === "+" || key === "=") && isFree) confirm();
  else if (key === "-" && isFree) refuse();
  else if (event.key === "Delete" && isFree) askToDelete();
  else if (dialogIsOpen()) return;
  else if (event.key === "Enter" && event.target.closest(".tile")) enlarged.open(grid.focused);
  else if (key === "." && document.getElementById("label-input")) document.getElementById("label-input").focus();
  else if (key === "/") document.getElementById("search")?.focus();
  else return;
  event.preventDefault();
});

// Success messages disappear by themselves; Ctrl+Z and the pane can still undo. Refusals stay until dismissed.
const NOTICE_MS = 10_000;
document.addEventListener("htmx:oobAfterSwap", (event) => {
  const box = event.detail.target.id === "notice" && document.querySelector("#notice .notice-success, #notice .notice-info");
  if (!box) return;
  const leave = () => (box.matches(":hover, :focus-within") ? setTimeout(leave, 1000) : box.remove());
  setTimeout(leave, NOTICE_MS);
});

// The label dialog opens when its content has arrived, and closes when its action is done; other answers leave it alone.
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  const dialog = document.getElementById("label-dialog");
  if (detail.target?.id === "label-dialog-body") dialog.open || dialog.showModal();
  else if (dialog?.open && dialog.contains(detail.requestConfig?.elt)) dialog.close();
});

// Changes of others, and of this person elsewhere, refresh counts and labels; the grid only while the user does not work in it.
presence = new Presence(grid, page, actions, (names, shown) => {
  refresh(true);
  pane.show();
  enlarged.refresh();
  const subject = enlarged.isOpen ? enlarged.id : grid.focused;
  const others = names.filter((name) => name !== "You"); // not translated: a mark of the server
  const text = gettext("%(names)s changed the image you are working on.");
  if (others.length && shown.includes(subject)) say(interpolate(text, { names: others.join(", ") }, true));
});

grid.restore();
pane.show();
arrangeLabels();
actions.pump(); // actions that an earlier visit could not send
