// @ts-check
/** What is told to somebody alone: a line above the box, with a link to where one acts, until it is put away. */

import { button, byId, make, roomPath } from "./page.js";

/** @typedef {import("./transports.js").CometEvent} CometEvent */
/** @typedef {{words: string, more: (count: number) => string, href: string, action: string}} Tiding */

/** @type {Record<string, (event: CometEvent) => Tiding>} */
const TIDINGS = {
  knock: ({ from }) => ({
    words: `${from} waits to be let in.`,
    more: (count) => `${count} people have asked to be let in.`,
    href: "/admin/waiting",
    action: "See who waits",
  }),
  report: ({ from, room }) => ({
    words: `${from} has reported a message in #${room}.`,
    more: (count) => `${count} messages have been reported.`,
    href: "/admin/reports",
    action: "See reports",
  }),
  held: ({ from, room }) => ({
    words: `What ${from} wants to say in #${room} waits for a moderator.`,
    more: (count) => `${count} messages wait for a moderator.`,
    href: "/admin/reports",
    action: "See what waits",
  }),
  invited: ({ from, room = "" }) => {
    const direct = room.startsWith("direct-");
    const last = direct ? `a conversation with ${from}` : `#${room}`;
    return {
      words: direct ? `${from} wants to talk with you alone.` : `${from} has let you into #${room}.`,
      more: (count) => `You have been let into ${count} rooms, the last ${last}.`,
      href: roomPath(room),
      action: "Go there",
    };
  },
};

/** @type {Record<string, string>} */
const SANCTIONED = { silence: "silenced", kick: "sent away", ban: "banned" };

export class Tidings {
  #list = byId("tidings");
  /** How many lines of a kind there would be. @type {Map<string, number>} */
  #counts = new Map();

  /** @param {CometEvent} event */
  tell(event) {
    const { words, more, href, action } = TIDINGS[event.type](event);
    const count = (this.#counts.get(event.type) ?? 0) + 1;
    this.#counts.set(event.type, count);
    this.#put(event.type, count > 1 ? more(count) : words, make("a", { href, textContent: action }));
  }

  /** A sanction on oneself, in another room than this one. @param {CometEvent} event */
  sanctioned({ room, kind = "", reason = "", lifted = false }) {
    const words = lifted ? `You are no longer ${SANCTIONED[kind] ?? "banned"}` : `You are ${SANCTIONED[kind] ?? "banned"}`;
    const where = room ? ` in #${room}` : "";
    this.#put("sanction", `${words}${where}${reason && !lifted ? `: ${reason}` : "."}`);
  }

  /** One line of each kind. @param {string} kind @param {string} words @param {...Node} links */
  #put(kind, words, ...links) {
    const away = button("Put away", () => {
      this.#counts.delete(kind);
      line.remove();
      byId("text").focus({ preventScroll: true });
    });
    const line = make("li", {}, make("span", { dir: "auto", textContent: words }), ...links, away);
    line.dataset.kind = kind;
    const before = this.#list.querySelector(`[data-kind="${kind}"]`);
    if (before) before.replaceWith(line);
    else this.#list.append(line);
  }
}
export const TIDING_TYPES = Object.keys(TIDINGS);
