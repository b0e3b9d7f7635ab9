// Runs before the first paint, so that a chosen theme never flashes up as the other one.
// "auto" (nothing stored) leaves the choice to prefers-color-scheme.
(function () {
  'use strict';
  var theme = null;
  try { theme = localStorage.getItem('hadal.theme'); } catch { /* storage is off: auto */ }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
