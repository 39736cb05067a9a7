// Title of the page and a notice of the browser when a training has ended while its page is open.

const permission = () => (window.isSecureContext && "Notification" in window ? Notification.permission : "missing");
const pageTitle = document.title;
let told = "";

function showState() {
  for (const button of document.querySelectorAll("[data-allow-notices]")) button.hidden = permission() !== "default";
  for (const text of document.querySelectorAll("[data-notices]")) text.hidden = text.dataset.notices !== permission();
}

function tellEnd() {
  const news = document.getElementById("version-news")?.textContent.trim() ?? "";
  if (!news || news === told) return;
  told = news;
  if (!document.hidden) return; // the page itself shows it
  document.title = `● ${news}`;
  if (permission() === "granted") {
    const notice = new Notification(pageTitle, { body: news });
    notice.addEventListener("click", () => window.focus());
  }
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-allow-notices]")) Notification.requestPermission().then(showState);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) document.title = pageTitle;
});
document.addEventListener("htmx:afterSettle", () => {
  showState();
  tellEnd();
});
showState();
