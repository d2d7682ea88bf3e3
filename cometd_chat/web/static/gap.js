// @ts-check
/** A place in the conversation where lines are left out, and a button that loads some of them. */

import { button, make } from "./page.js";

/** @typedef {import("./transports.js").CometEvent} CometEvent */

/**
 * Fetches at most 200 of what is left out, and whether there is more in that direction; null where that
 * failed.
 * @typedef {(between: {after?: number, before: number}) => Promise<{messages: CometEvent[], more: boolean} | null>} Fetch
 */

/**
 * What is left out.
 * @typedef {Object} Missing
 * @property {number} count how many lines; 0 when nobody has counted them
 * @property {boolean} [atLeast] there are more than that
 * @property {number} after id of the line above
 * @property {number} before id of the line below
 * @property {boolean} forward the next after the line above are loaded, else those before the one below
 */

export class Gap {
  #missing;
  #fetch;
  #place;
  #words = make("span");
  line;

  /**
   * @param {Missing} missing
   * @param {Fetch} fetch
   * @param {(events: CometEvent[]) => void} place puts loaded lines where they belong
   */
  constructor(missing, fetch, place) {
    this.#missing = missing;
    this.#fetch = fetch;
    this.#place = place;
    const load = button("Load", () => this.#load());
    load.className = "link";
    this.line = make("li", { className: "gap" }, make("span", {}, this.#words, " ", load));
    this.#show();
  }

  /** More is left out, down to another line. @param {number} count @param {number} before @param {boolean} atLeast */
  widen(count, before, atLeast) {
    this.#missing.count += count;
    this.#missing.atLeast ||= atLeast;
    this.#missing.before = before;
    this.#show();
  }

  #show() {
    const { count, atLeast } = this.#missing;
    this.#words.textContent = `${count || "More"} messages ${count && atLeast ? "or more " : ""}left out.`;
  }

  async #load() {
    const missing = this.#missing;
    const { after, before, forward } = missing;
    const page = await this.#fetch(forward ? { after, before } : { before });
    if (!page) return;
    const events = page.messages.filter(({ id = 0 }) => id > after);
    this.#place(events);
    const first = events[0]?.id ?? 0;
    const last = events.at(-1)?.id ?? 0;
    const reached = !page.more || events.length < page.messages.length || !events.length;
    const counted = missing.count > 0 && !missing.atLeast;
    missing.count = Math.max(missing.count - events.length, missing.atLeast ? 1 : 0);
    if (reached || (counted && !missing.count)) return this.line.remove();
    // The note stays where something is missing.
    if (forward) {
      missing.after = last;
      document.getElementById(`m${last}`)?.after(this.line);
    } else {
      missing.before = first;
      const line = document.getElementById(`m${first}`);
      const above = line?.previousElementSibling;
      (above?.matches(".day") ? above : line)?.before(this.line);
    }
    this.#show();
  }
}
