// Files and folders, chosen or dropped anywhere on the page.

// The files below a dropped file or folder, each with its path. A folder reader returns at most 100 entries per call.
async function filesOf(entry) {
  const path = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) return new Promise((resolve) => entry.file((file) => resolve([{ file, path }]), () => resolve([])));
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    const part = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!part.length) return files;
    files.push(...(await Promise.all(part.map(filesOf))).flat());
  }
}

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.length ? (await Promise.all(entries.map(filesOf))).flat() : withPaths(transfer.files);
}

const withPaths = (files) => [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
const veil = (isShown) => document.getElementById("drop-veil").toggleAttribute("hidden", !isShown);

export function listenForFiles(onFiles) {
  document.addEventListener("click", (event) => {
    const chooser = event.target.closest("[data-choose]");
    if (chooser) document.getElementById(chooser.dataset.choose).click();
  });
  document.addEventListener("change", (event) => {
    if (event.target.id !== "files" && event.target.id !== "folder") return;
    onFiles(withPaths(event.target.files));
    event.target.value = "";
  });

  let depth = 0; // dragenter and dragleave fire for every element on the way
  document.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    veil(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth -= 1;
    if (depth <= 0) veil(false);
  });
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  document.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    veil(false);
    onFiles(await dropped(event.dataTransfer));
  });
}
