// Runs before the first paint, so that a page with the other colours is never seen.
document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "";
