// @ts-check
/**
 * What may be done about somebody, or about a message of theirs: a panel beside the name that was pressed.
 * Names lead to pages with as much in forms; this only saves the way there. It holds no truth: each time it
 * opens, the daemon is asked what one may, and a refusal is said where the button is.
 */

import { avatar } from "./avatar.js";
import { MemberActs } from "./member_acts.js";
import { ask, button, byId, make, messagePath, personPath } from "./page.js";
import { close, isOpen, open, whenClosed } from "./popover.js";

/**
 * @typedef {Object} About whom, and what of theirs
 * @property {string} name
 * @property {string} role as a word; empty where it is not known
 * @property {number} message id; 0 when it is about the person alone
 */

/**
 * @typedef {Object} Does what the page does for the menu
 * @property {() => string} me
 * @property {(name: string) => string} roleOf
 * @property {(name: string) => void} mention
 */

const NAMES = "#people-list a, #log a.name, #log time a";
/** From here on it is a sheet at the lower edge, as comet.css has it. */
const NARROW = "(max-width: 719.98px)";
const GAP = 8;

export class MemberMenu {
  #panel = byId("member");
  #room;
  #does;
  /** What it was opened from. @type {HTMLElement | null} */
  #opener = null;
  /** The one link of all lines that the keyboard comes to. @type {HTMLElement | null} */
  #stopped = null;
  #acts;
  /** So that a late answer fills no other menu. */
  #turn = 0;

  /** @param {string} room @param {Does} does */
  constructor(room, does) {
    this.#room = room;
    this.#does = does;
    this.#acts = new MemberActs(room);
    addEventListener("click", (event) => this.#click(event));
    byId("log").addEventListener("keydown", (event) => this.#walk(event));
    byId("log").addEventListener("focusin", ({ target }) => this.#stopAt(/** @type {Element} */ (target)));
    whenClosed(this.#panel, () => this.#closed());
    new ResizeObserver(() => this.#place()).observe(this.#panel);
    addEventListener("resize", () => this.#place());
  }

  /** The newest line is where the keyboard comes to. Called for each: it looks through no others. */
  stop() {
    if (this.#stopped && this.#stopped === document.activeElement) return;
    let line = byId("log").lastElementChild;
    while (line) {
      const link = line.matches(".message[data-id]") && line.querySelector("time a");
      if (link) return this.#stopAt(link);
      line = line.previousElementSibling;
    }
  }

  /** @param {Element} link */
  #stopAt(link) {
    if (!(link instanceof HTMLElement) || !link.matches("time a")) return;
    if (this.#stopped) this.#stopped.tabIndex = -1;
    this.#stopped = link;
    link.tabIndex = 0;
  }

  /** Up and down from line to line. @param {KeyboardEvent} event */
  #walk(event) {
    const link = /** @type {Element} */ (event.target);
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step || !link.matches("time a") || event.altKey || event.ctrlKey || event.metaKey) return;
    const links = /** @type {HTMLElement[]} */ ([...byId("log").querySelectorAll(".message[data-id] time a")]);
    const next = links[links.indexOf(/** @type {HTMLElement} */ (link)) + step];
    event.preventDefault();
    next?.focus();
  }

  /** @param {MouseEvent} event */
  #click(event) {
    // A new window is asked for.
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest(NAMES) : null;
    if (!this.#does.me() || !(link instanceof HTMLElement)) return;
    event.preventDefault();
    const line = /** @type {HTMLElement | null} */ (link.closest(".message"));
    const name = (line ? line.dataset.from : link.dataset.name) ?? "";
    const message = line && !line.dataset.deleted ? Number(line.dataset.id) : 0;
    this.#open(link, { name, role: this.#does.roleOf(name), message });
  }

  /** @param {HTMLElement} opener @param {About} about */
  async #open(opener, about) {
    const panel = this.#panel;
    if (isOpen(panel)) close(panel);
    this.#opener = opener;
    const turn = ++this.#turn;
    const { name, role, message } = about;
    const me = name === this.#does.me();
    const title = make("h2", { id: "member-name" }, avatar(name), make("span", { dir: "auto", textContent: name }));
    const word = me ? "you" : role;
    if (word) title.append(make("span", { className: "role", textContent: word }));
    panel.setAttribute("aria-labelledby", title.id);
    const first = make("div", { className: "acts" });
    if (!me) {
      first.append(
        button("Mention", () => {
          this.#opener = null;
          close(panel);
          this.#does.mention(name);
        }),
      );
    }
    const page = message ? messagePath(this.#room, message) : personPath(this.#room, name);
    first.append(make("a", { href: page, textContent: "As a page" }));
    const rest = make("div", { className: "rest" });
    panel.replaceChildren(title, first, rest);
    open(panel);
    this.#place();
    /** @type {HTMLElement | null} */ (first.querySelector("button, a"))?.focus({ preventScroll: true });
    try {
      const [here, house] = await Promise.all([
        ask("GET", `/session?room=${encodeURIComponent(this.#room)}`),
        ask("GET", "/session"),
      ]);
      if (turn !== this.#turn) return;
      await this.#acts.fill(first, rest, about, { me, here: new Set(here.rights), house: new Set(house.rights) });
    } catch (problem) {
      if (turn !== this.#turn) return;
      const { detail } = /** @type {{detail: string}} */ (problem);
      rest.replaceChildren(make("p", { className: "problem", textContent: detail }));
      rest.firstElementChild?.setAttribute("role", "alert");
    }
  }

  /** Where it is seen whole, as near to the name as can be. */
  #place() {
    const panel = this.#panel;
    const opener = this.#opener;
    if (!isOpen(panel) || !opener) return;
    if (matchMedia(NARROW).matches) {
      panel.style.left = panel.style.top = "";
      return;
    }
    const from = opener.getBoundingClientRect();
    const { width, height } = panel.getBoundingClientRect();
    const left = Math.min(from.left, innerWidth - width - GAP);
    const top = Math.min(from.bottom + GAP / 2, innerHeight - height - GAP);
    panel.style.left = `${Math.max(GAP, left)}px`;
    panel.style.top = `${Math.max(GAP, top)}px`;
  }

  #closed() {
    const opener = this.#opener;
    this.#turn++;
    const focused = document.activeElement;
    if (!opener || (focused && focused !== document.body && !this.#panel.contains(focused))) return;
    // The drawer that it was in has made way, or the line has been drawn anew.
    const there = opener.isConnected && opener.getClientRects().length > 0;
    const place = there ? opener : document.querySelector(opener.closest("#people") ? ".people-button" : "#text");
    /** @type {HTMLElement | null} */ (place)?.focus({ preventScroll: true });
  }
}

