// What a person types is not lost: an answer of the server that replaces a form keeps what was typed meanwhile, and the
// browser's Back shows a form as it was left.

const FIELDS = "input:not([type=hidden], [type=file], [type=submit], [type=button]), textarea, select";

const isChoice = (field) => field.matches("[type=checkbox], [type=radio]");
const fieldsOf = (area) => [...(area.querySelectorAll?.(FIELDS) ?? [])];

// Whether the field differs from what the server sent.
function isDirty(field) {
  if (field.matches("select")) return [...field.options].some((option) => option.selected !== option.defaultSelected);
  return isChoice(field) ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
}

const path = (form) => form?.getAttribute("action")?.split("?")[0] ?? "";

// The place of a field among all of the page: the same one after the answer.
function keyOf(field) {
  const value = isChoice(field) ? field.value : "";
  return JSON.stringify([path(field.form), field.form?.id ?? "", field.id, field.name, value]);
}

const stateOf = (field) => (isChoice(field) ? field.checked : field.value);

function setState(field, state) {
  if (isChoice(field)) field.checked = state;
  else field.value = state;
}

function tell(field) {
  for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
}

// --- answers of the server ---

const typedAt = new WeakMap(); // field → when it was last changed by the person
const sentAt = new WeakMap(); // request → when it was sent
let answer = null; // the request that htmx is swapping in
let kept = [];
let openMenus = []; // ids

document.addEventListener("input", (event) => typedAt.set(event.target, performance.now()), true);
document.addEventListener("htmx:beforeSend", (event) => sentAt.set(event.detail.xhr, performance.now()));

document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  [kept, openMenus] = [[], []];
  answer = { at: sentAt.get(detail.xhr) ?? 0, source: detail.requestConfig?.elt };
  if (detail.shouldSwap) keep(detail.target);
});
document.addEventListener("htmx:oobBeforeSwap", ({ detail }) => keep(detail.target));
document.addEventListener("htmx:oobAfterSwap", restore);
document.addEventListener("htmx:afterSwap", () => {
  restore();
  answer = null;
  openMenus = [];
});

const isNavigation = () => Boolean(answer?.source?.closest?.("[hx-push-url]"));

function keep(area) {
  if (!isNavigation()) openMenus.push(...[...area.querySelectorAll("details[id][open]")].map(({ id }) => id));
  for (const field of fieldsOf(area)) {
    const isSince = answer !== null && (typedAt.get(field) ?? 0) > answer.at;
    if (!isSince && !isUnsent(field)) continue;
    const isFocused = document.activeElement === field;
    const range = isFocused && "selectionStart" in field ? [field.selectionStart, field.selectionEnd] : null;
    kept.push({ field, key: keyOf(field), state: stateOf(field), isSince, range });
  }
}

// Typed before the request, which is about something else: neither the field's own form nor another page.
function isUnsent(field) {
  const form = answer?.source?.closest?.("form");
  const isOwn = form && form === field.form;
  return !isOwn && !isNavigation() && isDirty(field) && field.checkVisibility();
}

function restore() {
  for (const id of openMenus) document.getElementById(id)?.setAttribute("open", "");
  const waiting = kept.filter(({ field }) => !field.isConnected);
  if (!waiting.length) return;
  const fresh = new Map(fieldsOf(document).map((field) => [keyOf(field), field]));
  for (const one of waiting) {
    const field = fresh.get(one.key);
    if (!field) continue;
    kept = kept.filter((other) => other !== one);
    setState(field, one.state);
    typedAt.set(field, typedAt.get(one.field) ?? 0);
    if (one.range?.[0] != null && document.activeElement === field) field.setSelectionRange(...one.range);
    if (one.isSince) tell(field); // a search by the last letters, for example
  }
}

// --- the browser's Back ---

// An answer to a sent form is not stored by the browser, so that Back, Forward and Reload would end at an error page of
// the browser: from now on its place in the history asks for the page anew.
history.replaceState(history.state, "", location.href);

const STORED = `exeml-typed:${location.pathname}`;
const isStored = (field) => field.form?.method === "post" && field.name && !field.form.querySelector("[type=password]");

// A page without such fields, the receipt of a form for example, leaves what is stored for the form at its address.
window.addEventListener("pagehide", () => {
  const fields = fieldsOf(document).filter(isStored);
  try {
    if (fields.length) sessionStorage.setItem(STORED, JSON.stringify(fields.map((field) => [keyOf(field), stateOf(field)])));
  } catch {
    // storage full or forbidden: the browser's own memory of forms remains
  }
});

function restoreStored() {
  const states = new Map(JSON.parse(sessionStorage.getItem(STORED) ?? "[]"));
  for (const field of fieldsOf(document)) {
    const key = keyOf(field);
    if (!states.has(key) || stateOf(field) === states.get(key)) continue;
    setState(field, states.get(key));
    tell(field);
  }
}

// After htmx has begun to listen, so that the previews beside the fields follow.
if (performance.getEntriesByType("navigation")[0]?.type === "back_forward") document.addEventListener("DOMContentLoaded", restoreStored);
