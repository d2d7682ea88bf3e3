// @ts-check
/** What the room is about, and why one can't speak there as one likes. The daemon writes it into the page; from then on it is this. */

import { byId, kept } from "./page.js";

/** @typedef {{topic?: string, slow?: number, locked?: boolean, archived?: boolean, calm?: string}} What what a room is, or some of it; and how calm the house is */

/** Seconds between two messages while it is slow everywhere. */
const CALM_SECONDS = 10;

/** Who has read the welcome and closed it is not shown the same one again. @param {HTMLDetailsElement | null} welcome */
function keepClosed(welcome) {
  if (!welcome) return;
  const words = welcome.querySelector("p")?.textContent ?? "";
  if (kept.get("welcome") === words) welcome.open = false;
  welcome.addEventListener("toggle", () => kept.set("welcome", welcome.open ? "" : words));
}

export class Quiet {
  /** @type {What} */
  #room;

  /** @param {What} room */
  constructor(room) {
    this.#room = room;
    keepClosed(/** @type {HTMLDetailsElement | null} */ (document.querySelector("#welcome")));
  }

  /** It is another one. @param {What} room */
  room({ topic, slow, locked, archived }) {
    for (const each of document.querySelectorAll(".topic")) {
      if (topic !== undefined && each.textContent !== topic) each.textContent = topic;
    }
    this.#room = { slow, locked, archived, calm: this.#room.calm };
    this.#show();
  }

  /** The house is as calm as this. @param {string} [calm] */
  calm(calm) {
    this.#room = { ...this.#room, calm };
    this.#show();
  }

  #show() {
    const note = byId("quiet");
    const words = this.#words();
    note.hidden = !words;
    if (note.textContent !== words) note.textContent = words;
  }

  #words() {
    const { locked, archived, calm } = this.#room;
    if (archived) return "This room is archived: nobody speaks here.";
    if (locked) return "This room is locked: only moderators speak here.";
    if (calm === "closed") return "For now only moderators speak.";
    if (calm === "members") return "For now only members speak, and guests read.";
    const slow = Math.max(this.#room.slow ?? 0, calm === "slow" ? CALM_SECONDS : 0);
    return slow ? `It is slow here: a message every ${slow} s.` : "";
  }
}
