// Messages and helpers for all scripts. It adds no listeners, so it may be loaded twice (hashed and plain URL).

const messages = () => document.getElementById("messages");

export function say(text, level = "info") {
  const box = document.createElement("div");
  box.className = `message message-${level}`;
  const words = document.createElement("span");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "button button-quiet button-small";
  close.dataset.dismiss = "";
  close.textContent = "Dismiss";
  box.append(words, close);
  messages().append(box);
  if (level === "info" || level === "success") setTimeout(() => box.remove(), 8000);
}

export const isTyping = (target) =>
  target instanceof Element && target.closest("input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable]") !== null;
