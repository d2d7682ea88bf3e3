// @ts-check
/**
 * The conversation as it is seen: lines in the order of the log, days and groups between them, one's
 * own lines that are still on their way below.
 *
 * The document is the state. The order is: confirmed lines by id, then pending and failed ones.
 */

import { comingsLine, note } from "./comings.js";
import { Gap } from "./gap.js";
import { dayLine, messageLine, relabelDay, say } from "./message.js";
import { button, copyText, make, pageData } from "./page.js";

/** @typedef {import("./transports.js").CometEvent} CometEvent */

const GROUP_WINDOW = 5 * 60 * 1000;
/** How far from the end still counts as being there, px. */
const NEAR = 60;
/** Lines that are kept at the end, and so many around what is read; trimmed in lumps. */
const KEEP = 400;
const AROUND = 150;
const LUMP = 50;

/** Whether an event has a line here. @param {CometEvent} event */
const hasLine = ({ type }) => type === "message" || type === "topic";

export class Messages {
  #scroller;
  #log;
  #fetch;
  /** Lines at which the next look is due whether there are too many. */
  #trimAt = KEEP + LUMP;
  /** Lines that came while one was not at the end. */
  unseen = 0;
  /** The newest line is in view. Noted when it changes: to ask the document costs a layout. */
  atEnd = true;
  /** Id of the newest line. */
  lastId = 0;
  /** Where the first new line is, seen from what is shown; empty once it has been seen. @type {"" | "above" | "below"} */
  newIs = "";
  /** Lines since there is a first new one. */
  news = 0;
  /** The last one that was put in. @type {Element | null} */
  #newLine = null;
  #looking = 0;
  /** How high all was before lines came at the end that are not made up for yet, px; 0 if none are. */
  #heightBefore = 0;
  /** Called when `unseen` or the place changes. */
  onmove = () => {};

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} log the list of lines inside it
   * @param {import("./gap.js").Fetch} fetch
   */
  constructor(scroller, log, fetch) {
    this.#scroller = scroller;
    this.#log = log;
    this.#fetch = fetch;
    scroller.addEventListener("scroll", () => this.#moved(), { passive: true });
    this.#takeOver();
  }

  /** Show the lines that the server rendered in the reader's own language and time zone. */
  #takeOver() {
    const { room } = pageData();
    const events = this.#lines().map((line) => ({
      id: Number(line.dataset.id),
      type: line.dataset.type ?? "message",
      room,
      from: line.dataset.from,
      at: line.dataset.at,
      text: line.querySelector(".text")?.textContent ?? "",
      deleted: /** @type {CometEvent["deleted"]} */ (line.dataset.deleted),
    }));
    this.clear();
    for (const event of events) this.#place(event);
  }

  /** The live region around the lines, and what is said in it when there are none. */
  get #region() {
    return /** @type {HTMLElement} */ (this.#log.parentElement);
  }

  /** @returns {HTMLElement[]} */
  #lines() {
    return Array.from(this.#log.querySelectorAll(".message[data-id]"));
  }

  get firstId() {
    return Number(this.#lines()[0]?.dataset.id ?? 0);
  }

  /** How many messages are shown. */
  get count() {
    return this.#lines().length;
  }

  /** px that are left above */
  get above() {
    this.#steady();
    const { scrollHeight, clientHeight, scrollTop } = this.#scroller;
    return scrollHeight - clientHeight + scrollTop;
  }

  toEnd() {
    this.#steady();
    this.#scroller.scrollTop = 0;
    this.#moved();
  }

  /** Go to the first new line. */
  toNew() {
    this.#steady();
    this.#new?.scrollIntoView({ block: "start" });
    this.#moved();
  }

  #moved() {
    this.#steady();
    this.atEnd = Math.abs(this.#scroller.scrollTop) < NEAR;
    if (this.atEnd) {
      this.unseen = 0;
      this.#trimAt = KEEP + LUMP;
    }
    this.lookForNew();
    this.onmove();
  }

  /** The line "New", where there is one. @returns {Element | null} */
  get #new() {
    return this.#newLine?.isConnected ? this.#newLine : null;
  }

  /** See where the first new line is; at most once a frame, since it costs a layout. */
  lookForNew() {
    if (!this.newIs || this.#looking) return;
    this.#looking = requestAnimationFrame(() => {
      this.#looking = 0;
      if (document.hidden || !this.newIs) return;
      this.#steady();
      const line = this.#new?.getBoundingClientRect();
      const view = this.#scroller.getBoundingClientRect();
      if (!line || (line.bottom > view.top && line.top < view.bottom)) this.newIs = "";
      else this.newIs = line.bottom <= view.top ? "above" : "below";
      this.onmove();
    });
  }

  /** Take all lines away, but not those on their way. */
  clear() {
    this.#steady();
    const away = ".message[data-id], .day, .new, .gap, .status";
    for (const each of this.#log.querySelectorAll(away)) each.remove();
    this.#region.querySelector(".older")?.remove();
    this.lastId = 0;
    this.newIs = "";
  }

  /** @param {CometEvent} event */
  has(event) {
    return document.getElementById(`m${event.id}`) !== null;
  }

  /**
   * A line that was just said.
   * @param {CometEvent} event
   * @param {{own: boolean, unread: boolean}} how unread: nobody is looking at the page
   */
  add(event, { own, unread }) {
    if (own && event.client_id) this.#onItsWay(event.client_id)?.remove();
    if (this.has(event)) return;
    const away = !this.atEnd && !own;
    if (own) this.forgetNew();
    this.#growSteadily();
    const line = this.#place(event);
    if ((unread || away) && !own && !this.#new) this.#markNew(line);
    this.#trim();
    if (away) this.unseen++;
    if (this.newIs) this.news++;
    this.lookForNew();
    this.onmove();
  }

  /** What is said in the line of an event, as it is now; where it has none, nothing. @param {CometEvent} event */
  amend(event) {
    const line = document.getElementById(`m${event.id}`);
    if (line) this.#steadily(() => say(line, event));
  }

  /**
   * Lines from before.
   * @param {CometEvent[]} events
   */
  addOlder(events) {
    this.#steady();
    // They are not news: a screen reader need not read them out.
    this.#region.setAttribute("aria-live", "off");
    // A kind that this page does not know has no line here.
    for (const event of events) if (hasLine(event) && !this.has(event)) this.#place(event);
    setTimeout(() => this.#region.setAttribute("aria-live", "polite"), 500);
  }

  /** Put the line "New" above the first line after `id`. @param {number} id @param {string} me */
  markUnreadAfter(id, me) {
    const lines = this.#lines();
    const at = lines.findIndex((line) => Number(line.dataset.id) > id);
    if (at < 0 || lines[at].dataset.from === me) return;
    this.#markNew(lines[at]);
    this.news = lines.length - at;
    this.lookForNew();
  }

  forgetNew() {
    this.#new?.remove();
    this.newIs = "";
  }

  /** @param {HTMLElement} line */
  #markNew(line) {
    this.#newLine = make("li", { className: "new" }, make("span", { textContent: "New" }));
    line.before(this.#newLine);
    this.#settle(line);
    this.newIs = this.atEnd ? "above" : "below";
    this.news = 0;
  }

  /**
   * A line of one's own that is on its way.
   * @param {string} clientId
   * @param {string} from
   * @param {string} text
   */
  addPending(clientId, from, text) {
    const line = messageLine({ type: "message", from, text, at: new Date().toISOString() });
    line.dataset.clientId = clientId;
    line.classList.add("pending");
    line.querySelector("time")?.replaceWith(make("span", { className: "state", textContent: "sending…" }));
    this.#log.append(line);
    this.#settle(line);
    this.toEnd();
  }

  /**
   * It was not sent.
   * @param {string} clientId
   * @param {string} why
   * @param {[label: string, action: () => void]} again
   * @param {() => void} drop
   */
  fail(clientId, why, [label, action], drop) {
    const line = this.#onItsWay(clientId);
    if (!line) return;
    const text = line.querySelector(".text")?.textContent ?? "";
    this.#unfail(line);
    line.classList.replace("pending", "failed");
    const copy = button("Copy", () => copyText(text).then(() => (copy.textContent = "Copied")));
    const remove = button("Discard", () => {
      line.remove();
      drop();
    });
    const words = make("span", { className: "problem", textContent: `Not sent. ${why}` });
    words.setAttribute("role", "alert");
    const actions = make("div", { className: "actions" }, words, button(label, action), copy, remove);
    this.#steadily(() => line.firstElementChild?.append(actions));
  }

  /** It is where it should be, and waits for somebody. @param {string} clientId @param {string} words */
  hold(clientId, words) {
    const state = this.#onItsWay(clientId)?.querySelector(".state");
    if (state) state.textContent = words;
  }

  /** It goes back to where it was written. @param {string} clientId */
  takeBack(clientId) {
    this.#onItsWay(clientId)?.remove();
  }

  /** It is tried again. @param {string} clientId */
  retry(clientId) {
    const line = this.#onItsWay(clientId);
    if (line) this.#unfail(line);
    line?.classList.replace("failed", "pending");
  }

  /** @param {HTMLElement} line */
  #unfail(line) {
    line.querySelector(".actions")?.remove();
  }

  /** @param {string} clientId @returns {HTMLElement | null} */
  #onItsWay(clientId) {
    return this.#log.querySelector(`[data-client-id="${CSS.escape(clientId)}"]`);
  }

  /**
   * Who came, went or has another name, folded into one quiet line until somebody speaks.
   * @param {"join" | "leave"} type
   * @param {string} name
   * @param {string} [was] the name before
   */
  addPresence(type, name, was) {
    const last = this.#lastConfirmed();
    const status = last?.matches(".status") ? last : comingsLine();
    const words = note(status, type, name, was);
    this.#steadily(() => {
      if (!words) return status.remove();
      status.textContent = words;
      if (!status.isConnected) this.#log.insertBefore(status, last?.nextSibling ?? this.#firstOnItsWay());
    });
  }

  /**
   * Lines were left out before those that come now.
   * @param {{count: number, atLeast: boolean, before: number}} missing
   */
  addGap(missing) {
    const gap = this.#gap({ ...missing, after: this.lastId, forward: false });
    this.#log.insertBefore(gap.line, this.#firstOnItsWay());
  }

  /** @param {import("./gap.js").Missing} missing */
  #gap(missing) {
    return new Gap(missing, this.#fetch, (events) => this.addOlder(events));
  }

  /**
   * Load what is new since `id`, where the page begins later, and go there.
   * @param {number} id
   * @param {string} me
   */
  async loadNewAfter(id, me) {
    const before = this.firstId;
    const page = await this.#fetch({ after: id, before });
    if (!page) return;
    this.addOlder(page.messages);
    const last = page.messages.at(-1)?.id ?? 0;
    if (page.more && last) {
      const gap = this.#gap({ count: 0, after: last, before, forward: true });
      document.getElementById(`m${last}`)?.after(gap.line);
      this.#settle(document.getElementById(`m${before}`));
    }
    this.forgetNew();
    this.markUnreadAfter(id, me);
    this.trimmed = true;
    this.toNew();
  }

  /** At midnight Today becomes Yesterday. */
  relabelDays() {
    for (const day of /** @type {NodeListOf<HTMLElement>} */ (this.#log.querySelectorAll(".day"))) relabelDay(day);
  }

  /** From the end, where they are: all that is above is not looked through for each line that comes. */
  #firstOnItsWay() {
    /** @type {Element | null} */
    let first = null;
    let line = this.#log.lastElementChild;
    while (line && !line.matches(".message[data-id]")) {
      if (line.matches("[data-client-id]")) first = line;
      line = line.previousElementSibling;
    }
    return first;
  }

  #lastConfirmed() {
    const pending = this.#firstOnItsWay();
    return /** @type {HTMLElement | null} */ (
      pending ? pending.previousElementSibling : this.#log.lastElementChild
    );
  }

  /**
   * Change something at the end without moving what is being read. The scroller is turned round, so
   * its place is counted from the end.
   * @param {() => void} change
   */
  #steadily(change) {
    this.#steady();
    if (this.atEnd) return change();
    const scroller = this.#scroller;
    const { scrollHeight, scrollTop } = scroller;
    change();
    scroller.scrollTop = scrollTop - (scroller.scrollHeight - scrollHeight);
  }

  /** The same for what only grows and comes by the hundred: a frame is soon enough, and each costs a layout. */
  #growSteadily() {
    if (this.atEnd || this.#heightBefore) return;
    this.#heightBefore = this.#scroller.scrollHeight;
    requestAnimationFrame(() => this.#steady());
  }

  /** Whoever looks where something is, moves it, or makes room elsewhere, begins with this. */
  #steady() {
    if (!this.#heightBefore) return;
    this.#scroller.scrollTop -= this.#scroller.scrollHeight - this.#heightBefore;
    this.#heightBefore = 0;
  }

  /** Put a line where its id belongs. @param {CometEvent} event */
  #place(event) {
    this.#sayThereAreSome();
    const id = event.id ?? 0;
    const line = messageLine(event);
    line.dataset.id = String(id);
    line.id = `m${id}`;
    if (id > this.lastId) {
      this.lastId = id;
      this.#log.insertBefore(line, this.#firstOnItsWay());
    } else {
      const before = this.#lines().findLast((each) => Number(each.dataset.id) < id);
      if (before) before.after(line);
      else this.#log.prepend(line);
    }
    this.#settle(line);
    this.#settle(this.#next(line));
    return line;
  }

  /** What was said to who found nothing is no longer so. */
  #sayThereAreSome() {
    Array.from(this.#region.children).find((each) => each.matches(".empty"))?.remove();
  }

  /** The message after something. @param {Element} line @returns {HTMLElement | null} */
  #next(line) {
    let next = line.nextElementSibling;
    while (next && !next.matches(".message")) next = next.nextElementSibling;
    return /** @type {HTMLElement | null} */ (next);
  }

  /** Give a line its day line and its place in a group. @param {HTMLElement | null} line */
  #settle(line) {
    if (!line) return;
    /** @type {Element | null} */
    let day = null;
    let before = line.previousElementSibling;
    while (before && !before.matches(".message")) {
      if (before.matches(".day")) day = before;
      before = before.previousElementSibling;
    }
    const at = new Date(line.dataset.at ?? "");
    const earlier = before ? new Date(/** @type {HTMLElement} */ (before).dataset.at ?? "") : null;
    const newDay = at.toDateString() !== earlier?.toDateString();
    if (newDay && !day) {
      const label = dayLine(line.dataset.at ?? "");
      const above = line.previousElementSibling;
      if (above?.matches(".new")) above.before(label);
      else line.before(label);
    } else if (!newDay) {
      day?.remove();
    }
    const previous = line.previousElementSibling;
    const grouped =
      !newDay &&
      earlier !== null &&
      previous === before &&
      /** @type {HTMLElement} */ (before).dataset.from === line.dataset.from &&
      // The clock can have been set back in between.
      Math.abs(at.getTime() - earlier.getTime()) <= GROUP_WINDOW;
    line.classList.toggle("first", !grouped);
  }

  /**
   * The page must not grow for ever. What is read stays, and so does a first new line that has not been
   * seen, with what follows it. What comes after that, up to the newest, is left out until it is asked for.
   */
  #trim() {
    if (this.#log.childElementCount < this.#trimAt) return;
    this.#steady();
    const lines = this.#lines();
    const { first, last } = this.#read(lines);
    const from = last + AROUND;
    const to = lines.length - KEEP;
    if (to - from >= LUMP) this.#leaveOut(lines, from, to);
    if (first - KEEP >= LUMP) this.#trimAbove(lines[first - KEEP]);
    this.#trimAt = this.#log.childElementCount + LUMP;
  }

  /** The first and the last line that somebody reads, or still has to. @param {HTMLElement[]} lines */
  #read(lines) {
    const end = lines.length - 1;
    const news = this.newIs ? this.#new : null;
    const marked = news ? lines.findIndex((line) => line === this.#next(news)) : end;
    if (this.atEnd) return { first: marked, last: marked };
    const { top, bottom } = this.#scroller.getBoundingClientRect();
    const first = lines.findIndex((line) => line.getBoundingClientRect().bottom > top);
    const last = lines.findLastIndex((line) => line.getBoundingClientRect().top < bottom);
    return { first: Math.min(first, marked), last: news ? Math.max(last, marked) : last };
  }

  /** Take the lines above one away. @param {HTMLElement} line */
  #trimAbove(line) {
    while (this.#log.firstElementChild && this.#log.firstElementChild !== line) {
      this.#log.firstElementChild.remove();
    }
    this.#settle(line);
    this.trimmed = true;
  }

  /** Take lines away in the middle. @param {HTMLElement[]} lines @param {number} from @param {number} to */
  #leaveOut(lines, from, to) {
    const above = lines[from - 1];
    const below = lines[to];
    const after = Number(above.dataset.id);
    const before = Number(below.dataset.id);
    const gap = this.#middle?.line.previousElementSibling === above ? this.#middle : null;
    let atLeast = false;
    this.#steadily(() => {
      for (let line = above.nextElementSibling; line && line !== below; line = above.nextElementSibling) {
        atLeast ||= line !== gap?.line && line.matches(".gap");
        line.remove();
      }
      if (gap) gap.widen(to - from, before, atLeast);
      this.#middle = gap ?? this.#gap({ count: to - from, atLeast, after, before, forward: true });
      above.after(this.#middle.line);
      this.#settle(below);
    });
  }

  /** What was left out while somebody read above it. @type {Gap | null} */
  #middle = null;

  /** Older lines were taken away, so there are more to load. */
  trimmed = false;
}
