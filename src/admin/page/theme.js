// Light or dark as somebody chose, before anything is drawn.
(() => {
  const chosen = localStorage.getItem("fanbridge.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
