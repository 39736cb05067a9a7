// Requests of uploads are sent again. For a server that is away they wait, with growing pauses, about an hour.
const PAUSES_S = [1, 3, 8, 15, 30];
const MAX_WAITS = 120;
const MAX_FAILURES = 3;
const AWAY = [0, 502, 503, 504]; // 0: no connection

const sleepers = new Set();
export const isWaiting = () => sleepers.size > 0;
export const waitingText = () => gettext("Waiting for the server. The upload continues by itself.");
const tell = () => document.dispatchEvent(new CustomEvent("upload:waiting"));

export function mayTryAgain(status, attempt) {
  if (AWAY.includes(status)) return attempt < MAX_WAITS;
  return status >= 500 && attempt < MAX_FAILURES;
}

// Resolves after the pause that follows an attempt, or at once when the upload is stopped or the network is back.
export function pause(attempt, retryAfter, signal) {
  const seconds = Math.max(PAUSES_S[Math.min(attempt, PAUSES_S.length - 1)], Number(retryAfter) || 0);
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      sleepers.delete(wake);
      signal?.removeEventListener("abort", wake);
      tell();
      resolve();
    };
    const timer = setTimeout(wake, 1000 * seconds);
    signal?.addEventListener("abort", wake);
    sleepers.add(wake);
    tell();
  });
}

export const wakeAll = () => [...sleepers].forEach((wake) => wake());
window.addEventListener("online", wakeAll);

// The response, or null without a connection. Rejects with an AbortError once the signal of the options aborts.
export async function fetchAgain(url, options) {
  for (let attempt = 0; ; attempt += 1) {
    let response = null;
    try {
      response = await fetch(url, options);
    } catch (problem) {
      if (problem.name === "AbortError") throw problem;
    }
    if (!mayTryAgain(response?.status ?? 0, attempt)) return response;
    await pause(attempt, response?.headers.get("Retry-After"), options.signal);
    options.signal?.throwIfAborted();
  }
}
