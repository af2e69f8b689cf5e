// Names the theme before the first paint, so that a dark page never flashes light: the one that was chosen, else the system's.
const system = matchMedia("(prefers-color-scheme: dark)");
function applyTheme() {
  let chosen = null;
  try {
    chosen = localStorage.getItem("spindle.theme");
  } catch {
    // Without storage the page follows the system.
  }
  document.documentElement.dataset.theme = chosen === "dark" || chosen === "light" ? chosen : system.matches ? "dark" : "light";
}
applyTheme();
system.addEventListener("change", applyTheme);
