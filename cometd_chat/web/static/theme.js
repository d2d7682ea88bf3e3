// @ts-check
/**
 * The choice of colours: light, dark or as the system has it. Loaded before anything is painted, so
 * it is a classic script and knows nothing of the rest.
 */
(() => {
  const KEY = "comet-chat.theme";
  const root = document.documentElement;

  /** @param {string | null} theme */
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };

  /** Storage may be forbidden; then the choice lasts as long as the page.
   * @returns {string | null} */
  const kept = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };

  apply(kept());
  addEventListener("storage", (event) => {
    if (event.key === KEY) apply(event.newValue);
  });
  document.addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("theme");
    // Browsers from before Chrome 123 show the light ones only.
    if (!choice || !CSS.supports("color", "light-dark(#000, #fff)")) return;
    choice.hidden = false;
    for (const input of choice.querySelectorAll("input")) {
      input.checked = input.value === (root.dataset.theme ?? "system");
      input.addEventListener("change", () => {
        apply(input.value);
        try {
          localStorage.setItem(KEY, input.value);
        } catch {
          // Applied, only not kept.
        }
      });
    }
  });
})();
