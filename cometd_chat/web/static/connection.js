// @ts-check
/** What is told about the connection: the chip, the panel behind it, the notice above the composer. */

import { TRANSPORTS } from "./transports.js";
import { button, byId, make, rewrite } from "./page.js";
import { isOpen, whenOpening } from "./popover.js";

/** @typedef {import("./comet.js").Comet} Comet */
/** @typedef {import("./comet.js").State} State */

/** A hiccup shorter than this is not worth a word, ms. */
const HICCUP = 1500;
/** @type {Record<string, string>} */
const FAREWELLS = {
  "logged out": "You are logged out.",
  logged_out: "You are logged out.",
  kicked: "You were sent away for a while.",
  banned: "You are banned.",
  "guests-off": "Guests can't come in just now.",
  replaced: "The conversation went on in another window.",
};

export class Connection {
  #comet;
  #chip = byId("chip");
  #panel = byId("connection");
  #notice = byId("notice");
  /** When it stopped being live, ms as in performance.now(); 0 while it is. */
  #brokenAt = performance.now();
  #wasLive = false;
  /** More than the word that a farewell is: for how long, and why. */
  farewell = "";
  #announced = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {Comet} comet */
  constructor(comet) {
    this.#comet = comet;
    byId("without-script").hidden = true;
    this.#chip.hidden = false;
    comet.on("state", () => this.show());
    setInterval(() => this.show(), 1000);
    whenOpening(this.#panel, () => this.#build());
    this.show();
  }

  show() {
    const state = this.#comet.state;
    if (state.phase === "live") {
      this.#brokenAt = 0;
      this.#wasLive = true;
    } else {
      this.#brokenAt ||= performance.now();
    }
    const left = this.#brokenAt + HICCUP - performance.now();
    const quiet = state.phase !== "away" && left > 0;
    clearTimeout(this.#timer);
    if (quiet) this.#timer = setTimeout(() => this.show(), left);
    this.#showChip(state, quiet && this.#wasLive);
    this.#showNotice(state, quiet);
    if (isOpen(this.#panel)) this.#fill();
  }

  /** @param {State} state @param {boolean} asIfLive */
  #showChip(state, asIfLive) {
    const live = state.phase === "live" || asIfLive;
    const words = { connecting: "connecting", live: "live", waiting: "reconnecting", away: "away", closed: "closed" };
    const lost = !live && (this.#wasLive || state.phase !== "connecting");
    this.#chip.classList.toggle("lost", lost);
    const dot = /** @type {HTMLElement} */ (this.#chip.querySelector(".dot"));
    dot.className = `dot ${live ? "live" : lost ? "lost" : ""}`;
    const again = this.#wasLive && state.phase === "connecting";
    rewrite(byId("chip-state"), live ? "live" : again ? "reconnecting" : words[state.phase]);
    rewrite(byId("chip-transport"), live ? TRANSPORTS[state.transport].label : "");
    this.#chip.title = "The connection";
    // Who is there is not known while nothing comes.
    byId("people").classList.toggle("stale", lost);
    this.#announce(live ? (this.#announced ? "Live again." : "") : lost ? "The connection is lost." : "");
  }

  /** Said once to screen readers, not every second. @param {string} words */
  #announce(words) {
    if (!words || words === this.#announced) return;
    this.#announced = words;
    byId("announcement").textContent = words;
  }

  /** @param {State} state @param {boolean} quiet */
  #showNotice(state, quiet) {
    if (this.#notice.dataset.taken) return;
    if (state.phase === "live" || state.phase === "closed" || quiet) return this.#say("");
    if (state.phase === "away") {
      const sent = state.reason === "kicked" || state.reason === "banned";
      const words = (sent && this.farewell) || (FAREWELLS[state.reason] ?? state.reason);
      const again = state.status === 401 || state.reason.startsWith("logged") ? "Log in" : "Come back";
      return this.#say(words || "The server sent us away.", again);
    }
    const left = Math.ceil((state.nextAt - Date.now()) / 1000);
    if (state.phase === "waiting" && left > 0) this.#say(`Reconnecting, next try in ${left} s`, "now");
    else this.#say(this.#wasLive ? "Reconnecting…" : "Connecting…");
  }

  /** @param {string} words @param {string} [action] */
  #say(words, action = "") {
    const notice = this.#notice;
    notice.hidden = !words;
    // The button stays the same element, so that it can be hit while the seconds run.
    let text = notice.querySelector("span");
    let act = notice.querySelector("button");
    if (!text || !act) {
      text = make("span");
      act = button("", () => this.#act());
      notice.replaceChildren(text, act);
    }
    rewrite(text, words);
    rewrite(act, action);
    act.hidden = !action;
  }

  #act() {
    const { phase, status, reason } = this.#comet.state;
    if (phase === "away" && (status === 401 || reason.startsWith("logged"))) location.reload();
    else this.#comet.reconnect();
  }

  #build() {
    const rows = make("dl", { id: "connection-facts" });
    const transports = make("fieldset", {}, make("legend", { textContent: "Choose another" }));
    for (const name of this.#comet.transports) {
      // Not onchange: who has come to another transport by a detour can ask for her own again at once.
      const input = make("input", { type: "radio", name: "transport", value: name, onclick: () => this.#comet.use(name) });
      input.checked = name === this.#comet.state.preferred;
      transports.append(make("label", {}, input, TRANSPORTS[name].label));
    }
    this.#panel.replaceChildren(make("h2", { textContent: "Connection" }), rows, transports);
    this.#fill();
  }

  #fill() {
    const state = this.#comet.state;
    const heard = state.heardAt ? `${Math.round((Date.now() - state.heardAt) / 1000)} s ago` : "not yet";
    const detour = state.transport !== state.preferred;
    const why = `${TRANSPORTS[state.preferred].label}: ${state.detour || "did not get through"}`;
    const facts = [
      ["State", state.phase === "live" ? "live" : state.reason || state.phase],
      ["Transport", TRANSPORTS[state.transport].label + (detour ? ", for the time being" : "")],
      ...(detour ? [["Instead of", why]] : []),
      ["Held by", state.leading ? "this tab" : "another tab, for this one too"],
      ["Last sign of life", heard],
      ["Last round trip", state.roundTrip ? `${Math.round(state.roundTrip)} ms` : "–"],
      ["Cursor", state.cursor || "–"],
    ];
    const terms = facts.flatMap(([term, fact]) => [
      make("dt", { textContent: term }),
      make("dd", { textContent: fact }),
    ]);
    byId("connection-facts").replaceChildren(...terms);
  }
}
