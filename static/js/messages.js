// Messages and helpers for all scripts. It adds no listeners to the page, so it may be loaded twice (hashed and plain URL).

const VANISHES_MS = 8000;
const area = () => document.getElementById("messages");

export function say(text, level = "info") {
  const box = document.getElementById("message-template").content.firstElementChild.cloneNode(true);
  box.className = `message message-${level}`;
  box.firstElementChild.textContent = text;
  show(box);
  return box;
}

// Failures stay until they are closed; others vanish, unless a person points at them or has the focus there.
export function show(box) {
  const isFailure = box.matches(".message-error, .message-warning");
  area().querySelector(isFailure ? "[role=alert]" : "[role=status]").append(box); // screen readers announce what is added
  raise();
  if (isFailure) return;
  const vanish = () => (box.matches(":hover, :focus-within") ? setTimeout(vanish, 1000) : box.remove());
  setTimeout(vanish, VANISHES_MS);
}

// Above a dialog that was opened since: what is shown last is on top.
function raise() {
  if (area().contains(document.activeElement)) return;
  if (area().matches(":popover-open")) area().hidePopover();
  area().showPopover();
}

// The focus moves to the next message, or to the page.
export function dismiss(box) {
  const hadFocus = box.contains(document.activeElement);
  box.remove();
  if (hadFocus) (area().querySelector("[data-dismiss]") ?? document.getElementById("main")).focus();
}

export const focusMessages = () => (area().querySelector("[data-dismiss]") ?? area()).focus();

export const isTyping = (target) =>
  target instanceof Element && target.closest("input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable]") !== null;
