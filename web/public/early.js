// Runs before anything is painted or sent: the theme that was chosen, and a token in the address,
// which leaves the address, and so the history, at once.
(function () {
  try {
    var theme = localStorage.getItem("pointsman.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch (refused) {
    // Storage may be forbidden; then the system's theme holds.
  }
  var found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    sessionStorage.setItem("pointsman.token", decodeURIComponent(found[1]));
  } catch (refused) {
    window.pointsmanToken = decodeURIComponent(found[1]);
  }
})();
