// Before the first paint, so that a dark page never flashes light.
try {
  const theme = localStorage.getItem("spindle.theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // Without storage the page follows the system.
}
