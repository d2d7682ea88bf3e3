// @ts-check
/**
 * The box that one writes in, and what becomes of what was written. It is never disabled and never
 * loses a word: the draft is kept while it is written, the message until the daemon has it.
 */

import { newClientId } from "./comet.js";
import { byId, kept } from "./page.js";

/** @typedef {{clientId: string, text: string}} Unsent */

/** Typing is told at most so often, ms. */
const TYPING_EVERY = 3000;
/** Code points that a message has at most, and from how many on it is told how many are left. */
const MOST = 8000;
const NEARLY = 7500;

export class Composer {
  #form;
  #box;
  #left;
  #problem;
  #answer;
  /** A command is on its way. */
  #running = false;
  #draftKey;
  /** When others were last told, ms as in performance.now(). */
  #typedAt = -Infinity;

  /**
   * @param {HTMLFormElement} form
   * @param {string} room
   * @param {{send: (text: string, clientId: string) => void, typing: () => void,
   *   run: (line: string) => Promise<string>, waits: () => boolean}} does run: a command; what came of it, or
   *   why not; waits: nothing can be said just yet, which is shown
   */
  constructor(form, room, does) {
    this.#form = form;
    this.#box = /** @type {HTMLTextAreaElement} */ (form.querySelector("textarea"));
    this.#left = byId("left");
    this.#problem = byId("problem");
    this.#answer = byId("answer");
    this.#draftKey = `draft.${room}`;
    if (!this.#box.value) this.#box.value = kept.get(this.#draftKey);
    this.#grow();
    this.#count();
    this.#box.addEventListener("input", () => {
      this.say("");
      this.#changed();
      const line = this.#box.value.trim();
      if (line && !line.startsWith("/") && performance.now() - this.#typedAt > TYPING_EVERY) {
        this.#typedAt = performance.now();
        does.typing();
      }
    });
    this.#box.addEventListener("keydown", (event) => this.#key(event));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#box.value.replace(/\r\n?/g, "\n").trim();
      if (!text) return;
      if (text.startsWith("/") && !text.startsWith("//")) return this.#run(text, does.run);
      const length = lengthOf(text);
      if (length > MOST) return this.say(`That is too long: ${counted(length)} of ${counted(MOST)} characters.`);
      if (does.waits()) return;
      this.say("");
      this.text = "";
      this.#typedAt = -Infinity;
      this.answer("");
      does.send(text.startsWith("//") ? text.slice(1) : text, newClientId());
      this.focus();
    });
  }

  get text() {
    return this.#box.value;
  }

  set text(text) {
    this.#box.value = text;
    this.#changed();
  }

  /** Why something could not be sent; empty takes it away. @param {string} words */
  say(words) {
    this.#problem.textContent = words;
    this.#problem.hidden = !words;
  }

  /** What came of a command; empty takes it away. @param {string} words */
  answer(words) {
    this.#answer.textContent = words;
    this.#answer.hidden = !words;
  }

  /**
   * The line stays in the box until it is known what came of it, and for good where that is nothing.
   * @param {string} line
   * @param {(line: string) => Promise<string>} run
   */
  async #run(line, run) {
    if (this.#running) return;
    this.#running = true;
    this.say("");
    this.answer("");
    try {
      const words = await run(line);
      if (this.#box.value.trim() === line) this.text = "";
      this.answer(words);
    } catch (problem) {
      this.say(/** @type {{detail: string}} */ (problem).detail);
    } finally {
      this.#running = false;
    }
    this.focus();
  }

  /** What was refused comes back, before what has been written since. @param {string} text @param {string} why */
  takeBack(text, why) {
    this.text = this.text.trim() ? `${text}\n\n${this.text}` : text;
    this.say(why);
    this.focus();
  }

  /** Begin with somebody's name, or go on with it. @param {string} name */
  mention(name) {
    const { text } = this;
    this.text = `${text}${text && !/\s$/.test(text) ? " " : ""}@${name} `;
    this.focus();
    this.#box.setSelectionRange(this.text.length, this.text.length);
  }

  focus() {
    this.#box.focus({ preventScroll: true });
  }

  #changed() {
    kept.set(this.#draftKey, this.#box.value);
    this.#grow();
    this.#count();
  }

  /** Near the limit, say how many characters are left. */
  #count() {
    const text = this.#box.value;
    const length = text.length < NEARLY ? 0 : lengthOf(text.trim());
    const over = length > MOST;
    const words = over ? `${counted(length - MOST)} too many` : `${MOST - length} left`;
    this.#left.hidden = length < NEARLY;
    this.#left.textContent = this.#left.hidden ? "" : words;
    this.#left.classList.toggle("over", over);
  }

  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight}px`;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    // 229: some browsers say only so that an input method is at work.
    if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
    const always = event.ctrlKey || event.metaKey;
    if (!always && (event.shiftKey || event.altKey)) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }
}

/** Code points, as the daemon counts. @param {string} text */
function lengthOf(text) {
  let length = 0;
  for (const _ of text) length++;
  return length;
}

const counted = (/** @type {number} */ number) => number.toLocaleString();

/** Messages that the daemon has not confirmed; they outlive a reload. */
export class Unconfirmed {
  #key;

  /** @param {string} room */
  constructor(room) {
    this.#key = `comet-chat.unsent.${room}`;
  }

  /** @returns {Unsent[]} */
  all() {
    try {
      return JSON.parse(sessionStorage.getItem(this.#key) ?? "[]");
    } catch {
      return [];
    }
  }

  /** @param {Unsent} message */
  add(message) {
    this.remove(message.clientId);
    this.#keep([...this.all(), message]);
  }

  /** @param {string} clientId */
  remove(clientId) {
    this.#keep(this.all().filter((each) => each.clientId !== clientId));
  }

  /** @param {Unsent[]} messages */
  #keep(messages) {
    try {
      sessionStorage.setItem(this.#key, JSON.stringify(messages));
    } catch {
      // Kept on the page only.
    }
  }
}
