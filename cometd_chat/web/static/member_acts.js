// @ts-check
/** The buttons of the member menu: who sees which, what each asks of the daemon, and what came of it. */

import { ask, button, make, roomPath } from "./page.js";

/** @typedef {import("./member_menu.js").About} About */

/**
 * @typedef {Object} May
 * @property {boolean} me it is about oneself
 * @property {Set<string>} here what one may in the room
 * @property {Set<string>} house and everywhere
 */

/** @typedef {{id: string, kind: string, who: string, room: string | null, until: string | null, reason: string}} Sanction */

const RANKS = ["waiting", "guest", "member", "moderator", "admin", "owner"];
/** @type {Record<string, string>} */
const DONE = { silence: "silenced", kick: "sent away", ban: "banned", "ban-network": "banned with their network" };
/** @type {[string, string][]} */
const KINDS = [
  ["silence", "Silence"],
  ["kick", "Kick"],
  ["ban", "Ban"],
  ["ban-network", "Ban network"],
];
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const HOUR = 60;

export class MemberActs {
  #room;
  /** What was purged last of whom, as long as it can be undone. @type {Map<string, {id: string, until: number}>} */
  #purges = new Map();

  /** @param {string} room */
  constructor(room) {
    this.#room = room;
  }

  /**
   * Add what one may do.
   * @param {HTMLElement} first the buttons that are there already
   * @param {HTMLElement} rest
   * @param {About} about
   * @param {May} may
   */
  async fill(first, rest, about, may) {
    const told = new Told();
    const parts = [];
    if (!may.me && may.house.has("direct")) first.append(this.#talk(about, told));
    if (!may.me && may.house.has("ignore")) first.append(await this.#ignoring(about, told));
    if (about.message) parts.push(...this.#message(about, may, told));
    if (may.here.has("sanction") && !may.me) parts.push(...(await this.#moderation(about, may, told)));
    rest.replaceChildren(...parts, ...told.lines);
  }

  /** @param {About} about @param {Told} told */
  #talk({ name }, told) {
    return button("Message", () =>
      told.attempt(async () => {
        location.assign(roomPath((await ask("POST", "/direct", { with: [name] })).name));
        return "";
      }),
    );
  }

  /** @param {About} about @param {Told} told */
  async #ignoring({ name }, told) {
    const { ignored } = await ask("GET", "/ignored");
    let on = ignored.some((/** @type {{name: string}} */ each) => each.name === name);
    const press = button("", () =>
      told.attempt(async () => {
        await ask(on ? "DELETE" : "PUT", `/ignored/${encodeURIComponent(name)}`);
        on = !on;
        say();
        return on ? `You neither hear nor see ${name} from now on. They are not told.` : `You hear and see ${name} again.`;
      }),
    );
    const say = () => (press.textContent = on ? "Hear again" : "Ignore");
    say();
    return press;
  }

  /** @param {About} about @param {May} may @param {Told} told @returns {HTMLElement[]} */
  #message({ message }, { me, here }, told) {
    const path = `${roomPath(this.#room)}/messages/${message}`;
    const acts = make("div", { className: "acts" });
    const why = field("Why", { maxLength: 300 });
    const report = make("form", { hidden: true }, why, make("button", { textContent: "Send the report" }));
    const asked = button("Report…", () => {
      report.hidden = !report.hidden;
      asked.setAttribute("aria-expanded", String(!report.hidden));
      if (!report.hidden) input(why).focus();
    });
    asked.setAttribute("aria-expanded", "false");
    report.addEventListener("submit", (event) => {
      event.preventDefault();
      told.attempt(async () => {
        await ask("POST", `${path}/report`, { reason: input(why).value });
        report.hidden = true;
        asked.setAttribute("aria-expanded", "false");
        asked.focus();
        return "It is before the moderators.";
      });
    });
    if (!me && here.has("report")) acts.append(asked);
    if (here.has(me ? "delete-own" : "delete-others")) {
      acts.append(
        twice("Delete…", "Delete for good?", (pressed) =>
          told.attempt(async () => {
            await ask("DELETE", path);
            pressed.disabled = true;
            return "It is deleted.";
          }),
        ),
      );
    }
    if (!acts.childElementCount) return [];
    return [part("This message"), acts, ...(me ? [] : [report])];
  }

  /** @param {About} about @param {May} may @param {Told} told @returns {Promise<HTMLElement[]>} */
  async #moderation(about, may, told) {
    const highest = (/** @type {Set<string>} */ rights) => (rights.has("set-admin") ? 5 : rights.has("set-policy") ? 4 : 3);
    if (RANKS.indexOf(about.role) >= highest(may.here)) return [];
    const force = make("ul", { className: "force" });
    const minutes = field("Minutes", { inputMode: "numeric", maxLength: 8 });
    const why = field("Why", { maxLength: 300, placeholder: "They are told" });
    const everywhere = make("input", { type: "checkbox" });
    const where = make("label", { className: "choice", hidden: !may.house.has("sanction") }, everywhere, "Everywhere, not only here");
    const acts = make("div", { className: "acts warm" });
    for (const [kind, label] of KINDS) {
      acts.append(
        button(label, () =>
          told.attempt(async () => {
            const typed = input(minutes).value.trim();
            /** @type {Sanction} */
            const made = await ask("POST", "/sanctions", {
              kind,
              who: about.name,
              ...(everywhere.checked ? {} : { room: this.#room }),
              ...(typed ? { minutes: /^\d+$/.test(typed) ? Number(typed) : typed } : {}),
              reason: input(why).value,
            });
            await this.#list(force, about, told);
            return `${about.name} is ${described(made)}.`;
          }),
        ),
      );
    }
    const none = make("p", { className: "soft", textContent: "No minutes: a kick lasts 10, all else until it is lifted." });
    const form = make("form", {}, make("div", { className: "beside" }, minutes, why), none, where, acts);
    // Enter in a field does nothing: none of the buttons is the one that is meant.
    form.addEventListener("submit", (event) => event.preventDefault());
    await this.#list(force, about, told);
    const parts = [part("Moderator · goes into the audit log"), force, form];
    if (may.here.has("purge")) parts.push(this.#purging(about, told));
    return parts;
  }

  /** What is in force. @param {HTMLElement} list @param {About} about @param {Told} told */
  async #list(list, about, told) {
    /** @type {{sanctions: Sanction[]}} */
    const { sanctions } = await ask("GET", `/sanctions?room=${encodeURIComponent(this.#room)}`);
    const lines = sanctions
      .filter(({ who }) => who === about.name)
      .map((each) => {
        const lift = button("Lift", () =>
          told.attempt(async () => {
            await ask("DELETE", `/sanctions/${each.id}`);
            const next = /** @type {HTMLElement | null} */ (list.nextElementSibling?.querySelector("input"));
            await this.#list(list, about, told);
            next?.focus();
            return "It is lifted.";
          }),
        );
        const words = described(each);
        return make("li", {}, make("span", { dir: "auto", textContent: words[0].toUpperCase() + words.slice(1) }), lift);
      });
    list.replaceChildren(...lines);
  }

  /** @param {About} about @param {Told} told */
  #purging({ name, message }, told) {
    const acts = make("div", { className: "acts warm" });
    const whom = message ? { message } : { who: name };
    const undo = button("Undo the purge", () =>
      told.attempt(async () => {
        const purge = this.#purges.get(name);
        await ask("DELETE", `${roomPath(this.#room)}/purge/${purge?.id}`);
        this.#purges.delete(name);
        show();
        /** @type {HTMLElement | null} */ (acts.firstElementChild)?.focus();
        return "It is all back.";
      }),
    );
    const show = () => (undo.hidden = !(Date.now() < (this.#purges.get(name)?.until ?? 0)));
    /** @param {{minutes?: number}} reach */
    const purge = (reach) =>
      told.attempt(async () => {
        const { id, until } = await ask("POST", `${roomPath(this.#room)}/purge`, { ...whom, ...reach });
        this.#purges.set(name, { id, until: Date.parse(until) });
        show();
        return `What ${name} said here is gone. It can be undone for half an hour.`;
      });
    acts.append(
      twice("Purge the last hour…", "Purge it?", () => purge({ minutes: HOUR })),
      twice("Purge all…", "Purge it all?", () => purge({})),
      undo,
    );
    show();
    return acts;
  }
}

/** What came of a button: one line for what was done, one for what was refused. */
class Told {
  #done = make("p", { className: "done", hidden: true });
  #problem = make("p", { className: "problem", hidden: true });
  #busy = false;

  constructor() {
    this.#done.setAttribute("role", "status");
    this.#problem.setAttribute("role", "alert");
  }

  get lines() {
    return [this.#done, this.#problem];
  }

  /** @param {() => Promise<string>} deed what came of it, in words */
  async attempt(deed) {
    if (this.#busy) return;
    this.#busy = true;
    try {
      this.#say(await deed(), "");
    } catch (problem) {
      this.#say("", /** @type {{detail: string}} */ (problem).detail);
    } finally {
      this.#busy = false;
    }
  }

  /** @param {string} done @param {string} problem */
  #say(done, problem) {
    for (const [line, words] of /** @type {[HTMLElement, string][]} */ ([[this.#done, done], [this.#problem, problem]])) {
      line.textContent = words;
      line.hidden = !words;
      if (words) line.scrollIntoView({ block: "nearest" });
    }
  }
}

/** @param {Sanction} sanction */
function described({ kind, room, until, reason }) {
  const where = room ? "" : " everywhere";
  const when = until ? ` until ${MOMENT.format(new Date(until))}` : ", until it is lifted";
  return `${DONE[kind] ?? kind}${where}${when}${reason ? `: ${reason}` : ""}`;
}

/** @param {string} title */
function part(title) {
  return make("h3", { textContent: title });
}

/** @param {string} label @param {Partial<HTMLInputElement>} properties */
function field(label, properties) {
  return make("label", {}, make("span", { textContent: label }), make("input", { dir: "auto", ...properties }));
}

/** @param {HTMLElement} label */
function input(label) {
  return /** @type {HTMLInputElement} */ (label.querySelector("input"));
}

/**
 * A button that asks once more.
 * @param {string} label
 * @param {string} question
 * @param {(pressed: HTMLButtonElement) => void} action
 */
function twice(label, question, action) {
  const pressed = button(label, () => {
    if (pressed.textContent === label) {
      pressed.textContent = question;
      return;
    }
    pressed.textContent = label;
    action(pressed);
  });
  pressed.className = "warm";
  pressed.addEventListener("blur", () => (pressed.textContent = label));
  return pressed;
}
