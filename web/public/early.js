// Runs before anything is painted or sent: the theme that was chosen, and a token in the address,
// which leaves the address, and so the history, at once.
(function () {
  try {
    var theme = localStorage.getItem("pointsman.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch (refused) {
    // Storage may be forbidden; then the system's theme holds.
  }

  function take() {
    var found = /^#token=(.+)$/.exec(location.hash);
    if (!found) return false;
    history.replaceState(null, "", location.pathname + location.search);
    var token = found[1];
    try {
      token = decodeURIComponent(token);
    } catch (malformed) {
      // It is taken as it stands, and refused.
    }
    try {
      sessionStorage.setItem("pointsman.token", token);
      return true;
    } catch (refused) {
      window.pointsmanToken = token;
      return false;
    }
  }

  take();
  // A link that is pasted into a tab where the page stands already loads nothing by itself.
  addEventListener("hashchange", function () {
    if (take()) location.reload();
  });
})();
