// @ts-check
/**
 * The conversation as it is seen: lines in the order of the log, days and groups between them, one's
 * own lines that are still on their way below.
 *
 * The document is the state. The order is: confirmed lines by id, then pending and failed ones.
 */

import { avatar } from "./avatar.js";
import { showText } from "./links.js";
import { button, make } from "./page.js";

/** @typedef {import("./doors.js").CometEvent} CometEvent */

const GROUP_WINDOW = 5 * 60 * 1000;
/** How far from the end still counts as being there, px. */
const NEAR = 60;
/** Lines that are kept while one is at the end, and at most while one is not; trimmed in lumps. */
const KEEP = 400;
const KEEP_READING = 1500;
const LUMP = 50;

const clockForm = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const dayForm = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });
const momentForm = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** @param {Date} at */
function dayLabel(at) {
  const today = new Date();
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (at.toDateString() === today.toDateString()) return "Today";
  if (at.toDateString() === yesterday.toDateString()) return "Yesterday";
  return dayForm.format(at);
}

export class Messages {
  #scroller;
  #log;
  /** Lines that came while one was not at the end. */
  unseen = 0;
  /** The newest line is in view. Noted when it changes: to ask the document costs a layout. */
  atEnd = true;
  /** Id of the newest line. */
  lastId = 0;
  /** Called when `unseen` or the place changes. */
  onmove = () => {};

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} log the one wrapper of lines inside it
   */
  constructor(scroller, log) {
    this.#scroller = scroller;
    this.#log = log;
    scroller.addEventListener("scroll", () => this.#moved(), { passive: true });
    this.#takeOver();
  }

  /** Show the lines that the server rendered in the reader's own language and time zone. */
  #takeOver() {
    const events = this.#lines().map((line) => ({
      id: Number(line.dataset.id),
      type: "message",
      from: line.dataset.from,
      at: line.dataset.at,
      text: line.querySelector(".text")?.textContent ?? "",
    }));
    this.clear();
    for (const event of events) this.#place(event);
  }

  /** @returns {HTMLElement[]} */
  #lines() {
    return Array.from(this.#log.querySelectorAll(".message[data-id]"));
  }

  get firstId() {
    return Number(this.#lines()[0]?.dataset.id ?? 0);
  }


  /** px that are left above */
  get above() {
    const { scrollHeight, clientHeight, scrollTop } = this.#scroller;
    return scrollHeight - clientHeight + scrollTop;
  }

  toEnd() {
    this.#scroller.scrollTop = 0;
    this.#moved();
  }

  #moved() {
    this.atEnd = Math.abs(this.#scroller.scrollTop) < NEAR;
    if (this.atEnd) this.unseen = 0;
    this.onmove();
  }

  /** Take all lines away, but not those on their way. */
  clear() {
    const away = ".message[data-id], .day, .new, .gap, .status, .older";
    for (const each of this.#log.querySelectorAll(away)) each.remove();
    this.lastId = 0;
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
    if (own) this.#log.querySelector(".new")?.remove();
    this.#steadily(() => {
      const line = this.#place(event);
      if ((unread || away) && !own && !this.#log.querySelector(".new")) this.#markNew(line);
      this.#trim();
    });
    if (away) this.unseen++;
    this.onmove();
  }

  /**
   * Lines from before.
   * @param {CometEvent[]} events
   */
  addOlder(events) {
    // They are not news: a screen reader need not read them out.
    this.#log.setAttribute("aria-live", "off");
    for (const event of events) if (!this.has(event)) this.#place(event);
    setTimeout(() => this.#log.setAttribute("aria-live", "polite"), 500);
  }

  /** Put the line "New" above the first line after `id`. @param {number} id @param {string} me */
  markUnreadAfter(id, me) {
    const first = this.#lines().find((line) => Number(line.dataset.id) > id);
    if (first && first.dataset.from !== me) this.#markNew(first);
  }

  forgetNew() {
    this.#log.querySelector(".new")?.remove();
  }

  /** @param {HTMLElement} line */
  #markNew(line) {
    line.before(make("p", { className: "new" }, make("span", { textContent: "New" })));
    this.#settle(line);
  }

  /**
   * A line of one's own that is on its way.
   * @param {string} clientId
   * @param {string} from
   * @param {string} text
   */
  addPending(clientId, from, text) {
    const line = this.#make({ type: "message", from, text, at: new Date().toISOString() });
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
   * @param {() => void} again
   * @param {() => void} drop
   */
  fail(clientId, why, again, drop) {
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
    const note = make("span", { className: "problem", textContent: `Not sent. ${why}` });
    note.setAttribute("role", "alert");
    this.#steadily(() =>
      line.append(make("div", { className: "actions" }, note, button("Retry", again), copy, remove)),
    );
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
   * Who came and went, folded into one quiet line until somebody speaks.
   * @param {"join" | "leave"} type
   * @param {string} name
   */
  addPresence(type, name) {
    const last = this.#lastConfirmed();
    /** @type {HTMLElement & {came?: Set<string>, left?: Set<string>}} */
    let status = last?.matches(".status") ? last : make("p", { className: "status", dir: "auto" });
    const came = (status.came ??= new Set());
    const left = (status.left ??= new Set());
    const [to, from] = type === "join" ? [came, left] : [left, came];
    // There and back again is no news.
    if (!from.delete(name)) to.add(name);
    const parts = [
      ...(came.size ? [`${names(came)} came`] : []),
      ...(left.size ? [`${names(left)} left`] : []),
    ];
    this.#steadily(() => {
      if (!parts.length) return status.remove();
      status.textContent = parts.join(" · ");
      if (!status.isConnected) this.#log.insertBefore(status, last?.nextSibling ?? this.#firstOnItsWay());
    });
  }

  /**
   * Lines were left out here.
   * @param {number} missing
   * @param {boolean} atLeast there are more, and nobody has counted them
   * @param {() => void} load
   * @returns {(missing: number) => void} tells how many are still missing; 0 takes the note away
   */
  addGap(missing, atLeast, load) {
    const more = button("Load", load);
    more.className = "link";
    const count = make("span");
    const note = make("p", { className: "gap" }, make("span", {}, count, " ", more));
    /** @param {number} left */
    const show = (left) => {
      if (left <= 0) note.remove();
      count.textContent = atLeast ? `${left} messages or more left out.` : `${left} messages left out.`;
    };
    show(missing);
    this.#log.insertBefore(note, this.#firstOnItsWay());
    return show;
  }

  /** At midnight Today becomes Yesterday. */
  relabelDays() {
    for (const day of /** @type {NodeListOf<HTMLElement>} */ (this.#log.querySelectorAll(".day"))) {
      const label = dayLabel(new Date(day.dataset.at ?? ""));
      const span = day.firstElementChild;
      if (span && span.textContent !== label) span.textContent = label;
    }
  }

  #firstOnItsWay() {
    return this.#log.querySelector("[data-client-id]");
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
    if (this.atEnd) return change();
    const scroller = this.#scroller;
    const { scrollHeight, scrollTop } = scroller;
    change();
    scroller.scrollTop = scrollTop - (scroller.scrollHeight - scrollHeight);
  }

  /** Put a line where its id belongs. @param {CometEvent} event */
  #place(event) {
    this.#log.querySelector(".empty")?.remove();
    const id = event.id ?? 0;
    const line = this.#make(event);
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

  /** @param {CometEvent} event */
  #make(event) {
    const at = new Date(event.at ?? 0);
    const from = event.from ?? "";
    const text = make("p", { className: "text", dir: "auto" });
    showText(text, event.text ?? "");
    const time = make("time", { dateTime: event.at ?? "", textContent: clockForm.format(at) });
    time.title = momentForm.format(at);
    const name = make("b", { className: "name", dir: "auto", textContent: from });
    const line = make("div", { className: "message" }, avatar(from), name, text, time);
    line.dataset.from = from;
    line.dataset.at = event.at;
    return line;
  }

  /** @param {HTMLElement} line @returns {HTMLElement | null} */
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
      const label = make("p", { className: "day" }, make("span", { textContent: dayLabel(at) }));
      label.dataset.at = line.dataset.at;
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

  /** The page must not grow for ever. */
  #trim() {
    const keep = this.atEnd ? KEEP : KEEP_READING;
    if (this.#log.childElementCount < keep + LUMP) return;
    const first = this.#lines().at(-keep);
    if (!first) return;
    while (this.#log.firstElementChild && this.#log.firstElementChild !== first) {
      this.#log.firstElementChild.remove();
    }
    this.#settle(first);
    this.trimmed = true;
  }

  /** Older lines were taken away, so there are more to load. */
  trimmed = false;
}

/** @param {Set<string>} people */
function names(people) {
  const [first, second] = people;
  if (people.size === 1) return first;
  return people.size === 2 ? `${first} and ${second}` : `${first} and ${people.size - 1} others`;
}

/** `navigator.clipboard` is absent on plain http. @param {string} text */
async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = make("textarea", { value: text, className: "unseen" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
