// @ts-check
/** One message as it is seen, and how times are said in the reader's own language and time zone. */

import { avatar } from "./avatar.js";
import { showText } from "./links.js";
import { make, messagePath, pageData } from "./page.js";

/** @typedef {import("./transports.js").CometEvent} CometEvent */

const clockForm = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const dayForm = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });
const momentForm = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** What is said of a message that was deleted, as `kinds.DELETED` in the daemon. */
const DELETED = { own: "deleted by its author", moderator: "deleted by a moderator" };

let numbers = 0;

/** The line of a message. @param {CometEvent} event @returns {HTMLElement} */
export function messageLine(event) {
  const at = new Date(event.at ?? 0);
  const from = event.from ?? "";
  const name = nameOf(event);
  const text = make("p", { className: "text", dir: "auto" });
  const time = make("time", { dateTime: event.at ?? "", textContent: clockForm.format(at) });
  // Where it can be deleted, or reported.
  if (event.id && event.room && event.type === "message") {
    const page = messagePath(event.room, event.id);
    // One of all is on the way of who goes by keyboard; arrows lead from there: see member_menu.js.
    time.replaceChildren(make("a", { href: page, tabIndex: -1, textContent: time.textContent ?? "" }));
  }
  time.title = momentForm.format(at);
  const article = make("article", {}, avatar(from), name, text, time);
  article.setAttribute("aria-labelledby", name.id);
  const line = make("li", { className: "message" }, article);
  if (event.type !== "message") line.dataset.type = event.type;
  line.classList.toggle("told", event.type !== "message");
  line.dataset.from = from;
  line.dataset.at = event.at;
  say(line, event);
  return line;
}

/** Who says it, and, for who is logged in, the way to what may be done about them. @param {CometEvent} event */
function nameOf({ type, id, room, from = "" }) {
  const named = { className: "name", dir: "auto", textContent: from, id: `n-${++numbers}` };
  if (!id || !room || type !== "message" || !pageData().me) return make("b", named);
  // Somebody may be gone; what they have said is there.
  return make("a", { ...named, href: messagePath(room, id), tabIndex: -1 });
}

/**
 * What is said in a line, or who has deleted that.
 * @param {HTMLElement} line
 * @param {CometEvent} event
 */
export function say(line, event) {
  const text = /** @type {HTMLElement} */ (line.querySelector(".text"));
  line.classList.toggle("deleted", event.deleted !== undefined);
  if (event.deleted) {
    line.dataset.deleted = event.deleted;
    text.textContent = `(${DELETED[event.deleted] ?? DELETED.moderator})`;
  } else {
    delete line.dataset.deleted;
    showText(text, event.text ?? newTopic(event.topic));
  }
}

/** What is said of another topic, as `kinds.TOPIC` in the daemon. @param {string} [topic] */
function newTopic(topic = "") {
  return topic ? `changed the topic to: ${topic}` : "took the topic away";
}

/** The line above the first message of a day. @param {string} at */
export function dayLine(at) {
  const label = make("span", { textContent: dayLabel(new Date(at)) });
  const line = make("li", { className: "day" }, make("h2", {}, label));
  line.dataset.at = at;
  return line;
}

/** At midnight Today becomes Yesterday. @param {HTMLElement} line */
export function relabelDay(line) {
  const words = dayLabel(new Date(line.dataset.at ?? ""));
  const label = line.querySelector("span");
  if (label && label.textContent !== words) label.textContent = words;
}

/** @param {Date} at */
function dayLabel(at) {
  const today = new Date();
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (at.toDateString() === today.toDateString()) return "Today";
  if (at.toDateString() === yesterday.toDateString()) return "Yesterday";
  return dayForm.format(at);
}
