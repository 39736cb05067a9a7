// The operations of the API, shown and tried out by Swagger UI, in the colours that the browser asks for.

const operations = document.getElementById("operations");
const dark = matchMedia("(prefers-color-scheme: dark)");

function useColours() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

// For those who do not see the icons and the layout, and for keys.
function completeControls() {
  const names = { ".copy-to-clipboard button": "Copy", ".close-modal": "Close" }; // not translated: of Swagger UI
  for (const [selector, name] of Object.entries(names))
    for (const button of operations.querySelectorAll(selector)) button.ariaLabel = name;
  for (const row of operations.querySelectorAll("[data-param-name], [data-property-name]"))
    for (const field of row.querySelectorAll(":is(input, select, textarea)"))
      field.ariaLabel ??= row.dataset.paramName ?? row.dataset.propertyName;
  for (const link of operations.querySelectorAll(".opblock-summary-control a")) link.removeAttribute("href");
  for (const code of operations.querySelectorAll(".curl")) code.tabIndex = 0; // it scrolls
}

new MutationObserver(completeControls).observe(operations, { childList: true, subtree: true });
dark.addEventListener("change", useColours);
useColours();
SwaggerUIBundle({
  url: operations.dataset.document,
  domNode: operations,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  docExpansion: "none",
  filter: true,
  defaultModelsExpandDepth: -1,
  validatorUrl: null, // no other site is asked
});
