// @ts-check
/**
 * The box that one writes in, and what becomes of what was written. It is never disabled and never
 * loses a word: the draft is kept while it is written, the message until the daemon has it.
 */

import { newClientId } from "./comet.js";
import { kept } from "./page.js";

/** @typedef {{clientId: string, text: string}} Unsent */

/** Typing is told at most so often, ms. */
const TYPING_EVERY = 3000;
const touch = matchMedia("(pointer: coarse)");

export class Composer {
  #form;
  #box;
  #draftKey;
  #typedAt = 0;

  /**
   * @param {HTMLFormElement} form
   * @param {string} room
   * @param {{send: (text: string, clientId: string) => void, typing: () => void}} does
   */
  constructor(form, room, does) {
    this.#form = form;
    this.#box = /** @type {HTMLTextAreaElement} */ (form.querySelector("textarea"));
    this.#draftKey = `draft.${room}`;
    if (!this.#box.value) this.#box.value = kept.get(this.#draftKey);
    this.#grow();
    this.#box.addEventListener("input", () => {
      this.#changed();
      if (this.#box.value.trim() && Date.now() - this.#typedAt > TYPING_EVERY) {
        this.#typedAt = Date.now();
        does.typing();
      }
    });
    this.#box.addEventListener("keydown", (event) => this.#key(event));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#box.value.replace(/\r\n?/g, "\n").trim();
      if (!text) return;
      this.text = "";
      this.#typedAt = 0;
      does.send(text, newClientId());
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

  focus() {
    this.#box.focus({ preventScroll: true });
  }

  #changed() {
    kept.set(this.#draftKey, this.#box.value);
    this.#grow();
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
    if (!always && (event.shiftKey || event.altKey || touch.matches)) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }
}

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
