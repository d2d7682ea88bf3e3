// @ts-check
/**
 * Panels that open over the page. Browsers have them since Chrome 114, Firefox 125 and Safari 17; before
 * that, a class and the same buttons do. The stylesheet knows both.
 */

const NATIVE = "showPopover" in HTMLElement.prototype;
const OPEN = "open";

/** @param {HTMLElement} panel */
export function isOpen(panel) {
  return NATIVE ? panel.matches(":popover-open") : panel.classList.contains(OPEN);
}

/** @param {HTMLElement} panel */
export function open(panel) {
  if (isOpen(panel)) return;
  if (NATIVE) return panel.showPopover();
  closeAll();
  panel.classList.add(OPEN);
  panel.dispatchEvent(new Event("opening"));
}

/** @param {HTMLElement} panel */
export function close(panel) {
  if (!isOpen(panel)) return;
  if (NATIVE) return panel.hidePopover();
  panel.classList.remove(OPEN);
  panel.dispatchEvent(new Event("closing"));
}

/** Where the browser has none of its own. */
function closeAll() {
  for (const each of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(`[popover].${OPEN}`))) close(each);
}

/** @param {HTMLElement} panel @param {() => void} action */
export function whenOpening(panel, action) {
  if (!NATIVE) return panel.addEventListener("opening", action);
  panel.addEventListener("beforetoggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState === "open") action();
  });
}

/** @param {HTMLElement} panel @param {() => void} action */
export function whenClosed(panel, action) {
  if (!NATIVE) return panel.addEventListener("closing", action);
  panel.addEventListener("toggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState === "closed") action();
  });
}

/** Do what the buttons say, where the browser does not. */
export function startPopovers() {
  if (NATIVE) return;
  // Before anybody else: what a click opens is not to be closed by it.
  const look = (/** @type {MouseEvent} */ { target }) => {
    if (!(target instanceof Element)) return;
    const button = target.closest("[popovertarget]");
    const panel = button && document.getElementById(button.getAttribute("popovertarget") ?? "");
    if (panel && !isOpen(panel) && button.getAttribute("popovertargetaction") !== "hide") return open(panel);
    if (panel) return close(panel);
    for (const each of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(`[popover].${OPEN}`))) {
      if (!each.contains(target)) close(each);
    }
  };
  addEventListener("click", look, { capture: true });
  addEventListener("keydown", ({ key }) => {
    if (key === "Escape") closeAll();
  });
}
