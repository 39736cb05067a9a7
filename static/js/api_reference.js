// The operations of the API, shown and tried out by Swagger UI, in the colours that the browser asks for.

const operations = document.getElementById("operations");
const dark = matchMedia("(prefers-color-scheme: dark)");

function useColours() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

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
