// @ts-check
/**
 * The room page, made live. Without this script the page reads and writes all the same; with it,
 * lines come by themselves and nothing reloads. It only joins the parts: the connection (comet.js),
 * the conversation (messages.js), the box (composer.js), the sides (side.js), what one
 * may do about somebody (member_menu.js).
 */

import { Again } from "./again.js";
import { PostError, connect } from "./comet.js";
import { Composer, Unconfirmed } from "./composer.js";
import { Connection } from "./connection.js";
import { isUnreached } from "./transports.js";
import { sendInPlace } from "./forms.js";
import { MemberMenu } from "./member_menu.js";
import { Messages } from "./messages.js";
import { Quiet } from "./quiet.js";
import { ask, byId, inWords, kept, make, pageData, rewrite, roomPath, unanswered } from "./page.js";
import { People, Rooms, startDrawers } from "./side.js";
import { Standing } from "./standing.js";
import { TIDING_TYPES, Tidings } from "./tidings.js";

/** @typedef {import("./transports.js").CometEvent} CometEvent */

const HISTORY_PAGE = 50;
/** So many messages are there from the beginning; a page is bounded in bytes and may bring fewer. */
const FIRST_MESSAGES = 60;
/** How near the top, px, older lines are fetched. */
const NEAR_TOP = 600;
const REFRESH = 15_000;
const TYPING_LASTS = 6000;

const data = pageData();
const room = data.room;
let me = data.me;
let more = data.more;
let unread = 0;
const title = document.title;

const messages = new Messages(byId("scroller"), byId("log"), ({ after, before }) => {
  const from = after ? `after=${after}&` : "";
  return ask("GET", `${roomPath(room)}/messages?${from}before=${before}&limit=200`).catch(() => null);
});
const people = new People(room);
const rooms = new Rooms(room);
const unconfirmed = new Unconfirmed(room);
// All tabs of a session hold one request.
const comet = connect({ rooms: [room], cursor: data.cursor, share: me || "reader" });
const connection = new Connection(comet);
// A request of the page's own that nobody answered says that there may be nobody.
unanswered.add(() => comet.check());
const form = /** @type {HTMLFormElement | null} */ (document.querySelector("form#composer"));
const standing = new Standing(room, data.slow);
const composer = form && new Composer(form, room, { send, run, typing: tellTyping, waits: () => standing.counting });
const menu = new MemberMenu(room, {
  me: () => me,
  roleOf: (name) => people.roleOf(name),
  mention: (name) => composer?.mention(name),
});
startDrawers();

// --- what is said

comet.on("message", (/** @type {CometEvent} */ event) => {
  if (event.room !== room) return;
  stopTyping(event.from ?? "");
  hear(event);
});

/** @param {CometEvent} event */
function hear(event) {
  const own = event.from === me;
  if (own && event.client_id) {
    unconfirmed.remove(event.client_id);
    again.drop(event.client_id);
    held.delete(event.client_id);
  }
  if (document.hidden && !own && !messages.has(event)) unread++;
  messages.add(event, { own, unread: document.hidden });
  menu.stop();
  noteRead();
}

comet.on("delete", (/** @type {CometEvent} */ { room: where, refers, deleted }) => {
  if (where === room) messages.amend({ type: "message", id: refers, deleted: deleted ?? "moderator" });
});

comet.on("topic", (/** @type {CometEvent} */ event) => {
  if (event.room === room) messages.add(event, { own: event.from === me, unread: false });
});

const quiet = new Quiet(data.quiet);
comet.on("room", (/** @type {CometEvent} */ event) => {
  if (event.room !== room) return;
  quiet.room(event);
  if (me) standing.look();
});

comet.on("calm", (/** @type {CometEvent} */ { room: where, calm }) => where === room && quiet.calm(calm));

/** Ids of messages that are back, and are asked for in a moment, all together. @type {Set<number>} */
const back = new Set();

comet.on("restore", (/** @type {CometEvent} */ event) => {
  if (event.room !== room || !event.refers || !messages.has({ type: "message", id: event.refers })) return;
  // Hundreds come at once, and are back for all who read.
  if (!back.size) setTimeout(loadBack, 200 + Math.random() * 1800);
  back.add(event.refers);
});

async function loadBack() {
  let ids = [...back];
  back.clear();
  while (ids.length) {
    const after = Math.min(...ids) - 1;
    const page = await ask("GET", `${roomPath(room)}/messages?after=${after}&limit=200`).catch(() => null);
    const found = /** @type {CometEvent[]} */ (page?.messages ?? []);
    for (const event of found) messages.amend(event);
    const last = found[found.length - 1]?.id ?? 0;
    // Where nothing came, the next restore asks again.
    ids = last > after ? ids.filter((id) => id > last) : [];
  }
}

/** A command; what came of it. @param {string} line @returns {Promise<string>} */
async function run(line) {
  try {
    const outcome = await ask("POST", `${roomPath(room)}/commands`, { line });
    if (outcome.ended) location.assign("/");
    else if (outcome.room && outcome.room !== room) location.assign(`/rooms/${encodeURIComponent(outcome.room)}`);
    return outcome.notice;
  } catch (problem) {
    if (/** @type {{status: number}} */ (problem).status !== 401) throw problem;
    return new Promise((done, failed) => logInAgain(() => run(line).then(done, failed)));
  }
}

/** @param {string} text @param {string} clientId */
function send(text, clientId) {
  messages.addPending(clientId, me, text);
  unconfirmed.add({ clientId, text });
  post(text, clientId);
}

/** @param {string} text @param {string} clientId @returns {Promise<void>} */
async function post(text, clientId) {
  try {
    hear(await comet.post(room, text, clientId));
    standing.said();
  } catch (problem) {
    if (!(problem instanceof PostError)) throw problem;
    if (problem.status === 401) return logInAgain(() => post(text, clientId));
    if (problem.status === 202) return hold(text, clientId, problem.message);
    if (standing.explains(problem.problem)) {
      giveBack(text, clientId);
      return standing.refused(problem.problem, problem.retryAfter);
    }
    if (problem.status === 400) return giveBack(text, clientId, problem.message);
    const wait = problem.retryAfter ? ` Try again in ${Math.ceil(problem.retryAfter)} s.` : "";
    fail(text, clientId, `${inWords({ status: problem.status, detail: problem.message })}${wait}`);
    if (!problem.status || problem.status >= 500) again.add(clientId, text, !isUnreached(problem));
  }
}

const again = new Again((clientId, text) => {
  messages.retry(clientId);
  post(text, clientId);
});
comet.on("state", (/** @type {import("./comet.js").State} */ { phase }) => again.note(phase === "live"));

/** What waits for a moderator, by its key. @type {Map<string, string>} */
const held = new Map();

/** The daemon has it, and does not say it yet. @param {string} text @param {string} clientId @param {string} why */
function hold(text, clientId, why) {
  held.set(clientId, text);
  unconfirmed.remove(clientId);
  messages.hold(clientId, "waits for a moderator");
  composer?.answer(why);
}

comet.on("error", (/** @type {CometEvent} */ { client_id: clientId = "", detail = "" }) => {
  const text = held.get(clientId);
  if (text === undefined) return;
  held.delete(clientId);
  fail(text, clientId, detail);
});

/** It can't be said as it is, or not now: it goes back into the box. @param {string} text @param {string} clientId @param {string} [why] */
function giveBack(text, clientId, why = "") {
  messages.takeBack(clientId);
  again.drop(clientId);
  unconfirmed.remove(clientId);
  composer?.takeBack(text, why && `Not sent. ${why}`);
}

/** @param {string} text @param {string} clientId @param {string} why */
function fail(text, clientId, why) {
  const retry = () => {
    again.hold(clientId);
    messages.retry(clientId);
    post(text, clientId);
  };
  const drop = () => {
    again.drop(clientId);
    unconfirmed.remove(clientId);
  };
  messages.fail(clientId, why, ["Retry", retry], drop);
}

// --- what is told to oneself alone

const tidings = new Tidings();
for (const type of TIDING_TYPES) comet.on(type, (/** @type {CometEvent} */ event) => tidings.tell(event));

comet.on("sanction", (/** @type {CometEvent} */ event) => {
  if (event.room && event.room !== room) return tidings.sanctioned(event);
  connection.farewell = event.lifted ? "" : farewell(event);
  standing.look();
});

/** Why one is sent away, and for how long, in words. @param {CometEvent} event */
function farewell({ kind, until, reason }) {
  if (kind === "silence") return "";
  const form = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const when = until ? ` until ${form.format(new Date(until))}` : "";
  return `You are ${kind === "kick" ? "sent away" : "banned"}${when}${reason ? `: ${reason}` : "."}`;
}

// --- a session that has ended

/** What is to be done when there is a session again. @type {(() => void)[]} */
const afterLogIn = [];

/** Log in under the same name, without a word when that works. @param {() => void} then */
async function logInAgain(then) {
  afterLogIn.push(then);
  if (afterLogIn.length === 1) await logIn(me);
}

/** @param {string} name */
async function logIn(name) {
  const notice = byId("notice");
  try {
    const session = await ask("POST", "/session", { name });
    callMe(session.name);
    delete notice.dataset.taken;
    notice.replaceChildren();
    for (const then of afterLogIn.splice(0)) then();
    comet.reconnect();
  } catch (problem) {
    askForName(name, inWords(/** @type {{status: number, detail: string}} */ (problem)));
  }
}

/** @param {string} name */
function callMe(name) {
  me = name;
  byId("me").textContent = name;
}

/** @param {string} name @param {string} why */
function askForName(name, why) {
  const notice = byId("notice");
  const input = make("input", { value: name, required: true, maxLength: 64, dir: "auto" });
  input.setAttribute("aria-label", "Your name");
  const enter = make("form", {}, input, make("button", { textContent: "Log in" }));
  enter.addEventListener("submit", (event) => {
    event.preventDefault();
    logIn(input.value);
  });
  notice.dataset.taken = "yes";
  notice.hidden = false;
  notice.replaceChildren(make("span", { textContent: `Your session has ended. ${why}` }), enter);
}

comet.on("state", (/** @type {import("./comet.js").State} */ state) => {
  if (state.phase === "away" && state.status === 401 && me) logInAgain(() => comet.reconnect());
});

// --- from before

let loading = false;

async function loadOlder() {
  const enough = messages.count >= FIRST_MESSAGES && messages.above > NEAR_TOP;
  if (loading || enough || !(more || messages.trimmed)) return;
  loading = true;
  try {
    const before = messages.firstId ? `before=${messages.firstId}&` : "";
    const path = `${roomPath(room)}/messages?${before}limit=${HISTORY_PAGE}`;
    const page = await ask("GET", path);
    messages.addOlder(page.messages);
    more = page.more;
    messages.trimmed = false;
  } catch {
    // The connection shows that something is wrong; the next scroll tries again.
    return;
  } finally {
    loading = false;
  }
  loadOlder();
}

comet.on("gap", (/** @type {CometEvent} */ gap) => {
  if (gap.room !== room || !gap.missing) return;
  messages.addGap({ count: gap.missing, atLeast: gap.at_least ?? false, before: gap.before ?? 0 });
});

comet.on("reset", async () => {
  // At once: an id can stand for something else from here on, and what is told meanwhile stays.
  messages.clear();
  more = false;
  const page = await ask("GET", `${roomPath(room)}/messages`).catch(() => null);
  messages.addOlder(page?.messages ?? []);
  more = page?.more ?? true;
});

// --- who is here

comet.on("join", (/** @type {CometEvent} */ event) => {
  if (event.room !== room || !event.from) return;
  people.join(event.from);
  // In another tab, or by another program of hers.
  if (event.was && event.was === me) callMe(event.from);
  if (event.from !== me) messages.addPresence("join", event.from, event.was);
});
comet.on("leave", (/** @type {CometEvent} */ event) => {
  if (event.room !== room || !event.from) return;
  people.leave(event.from);
  stopTyping(event.from);
  if (event.from !== me && !event.now) messages.addPresence("leave", event.from);
});
comet.on("people", (/** @type {CometEvent} */ event) => people.count(event.count ?? 0));

let wasLive = false;
let wasAway = false;
comet.on("state", (/** @type {import("./comet.js").State} */ { phase }) => {
  // Who came and went meanwhile is not kept in the log. A moment later, since only then are we here.
  if (phase === "live" && !wasLive) setTimeout(() => people.refresh().catch(() => {}), 200);
  // So is what has become of oneself.
  if (phase === "live" && wasAway && me) standing.look();
  if (phase === "live" || phase === "away" || phase === "waiting") wasAway = phase !== "live";
  wasLive = phase === "live";
});

/** Who types, and until when. @type {Map<string, ReturnType<typeof setTimeout>>} */
const typing = new Map();

comet.on("typing", (/** @type {CometEvent} */ event) => {
  if (event.room !== room || !event.from || event.from === me) return;
  const name = event.from;
  clearTimeout(typing.get(name));
  typing.set(name, setTimeout(() => stopTyping(name), TYPING_LASTS));
  showTyping();
});

/** @param {string} name */
function stopTyping(name) {
  clearTimeout(typing.get(name));
  if (typing.delete(name)) showTyping();
}

function showTyping() {
  const [first, second] = typing.keys();
  const words = ["", `${first} is typing…`, `${first} and ${second} are typing…`];
  byId("typing").textContent = words[typing.size] ?? "Several people are typing…";
}

function tellTyping() {
  comet.typing(room);
}

addEventListener("pagehide", () => me && comet.leave(room));

// --- what has been read

const readKey = `read.${room}`;
const jump = byId("jump");
const toNew = byId("to-new");
/** The page began after what was read last, so that the first new line may not be on it. */
let behind = 0;

jump.addEventListener("click", () => (messages.newIs === "below" ? messages.toNew() : messages.toEnd()));
toNew.addEventListener("click", () => {
  if (!behind) return messages.toNew();
  messages.loadNewAfter(behind, me);
  behind = 0;
});
let looking = 0;
messages.onmove = () => {
  const { unseen, news, newIs } = messages;
  jump.hidden = messages.atEnd;
  rewrite(jump, unseen ? `${counted(unseen)} ↓` : "To the newest ↓");
  toNew.hidden = newIs !== "above" && !behind;
  rewrite(toNew, behind ? "To the first new message ↑" : `${counted(news)} ↑`);
  noteRead();
  looking ||= requestAnimationFrame(look);
};

/** What costs a layout or is written down: once a frame, however many lines have come. */
function look() {
  looking = 0;
  keepRead();
  loadOlder();
}

/** @param {number} count */
function counted(count) {
  return `${count} new ${count === 1 ? "message" : "messages"}`;
}

/** What has been in view is to be kept, and the title says what has not. */
function noteRead() {
  const words = unread ? `(${unread}) ${title}` : title;
  if (document.title !== words) document.title = words;
  if (!document.hidden && messages.atEnd) readTo = messages.lastId;
}

/** Id of the newest message that has been in view. */
let readTo = 0;

function keepRead() {
  if (readTo > Number(kept.get(readKey))) kept.set(readKey, String(readTo));
}
addEventListener("pagehide", keepRead);

document.addEventListener("visibilitychange", () => {
  // What was new has been seen: the next line that comes is what is new then.
  if (document.hidden && messages.atEnd) messages.forgetNew();
  if (!document.hidden) {
    unread = 0;
    messages.lookForNew();
  }
  noteRead();
  keepRead();
});

// --- now and then

async function refresh() {
  messages.relabelDays();
  if (document.hidden) return;
  if (me) standing.look();
  if (people.uncertain) people.refresh().catch(() => {});
  const newest = await rooms.refresh().catch(() => 0);
  // What was told while nothing was heard.
  if (rooms.current) quiet.room(rooms.current);
  if (rooms.calm) quiet.calm(rooms.calm);
  // What was on the page from the start did not come by the stream, and won't.
  if (newest > messages.lastId) comet.expect(room, newest);
}
setInterval(refresh, REFRESH);
addEventListener("pageshow", (event) => event.persisted && refresh());

// --- begin

sendInPlace(document.querySelector("#new-room form"), async ({ name, topic }) => {
  const made = await ask("POST", "/rooms", { name: name.trim().replace(/^#/, ""), topic });
  location.assign(roomPath(made.name));
});
sendInPlace(document.querySelector("#rename form"), async ({ name }) => {
  callMe((await ask("POST", "/session", { name })).name);
  document.querySelector("#rename")?.removeAttribute("open");
});
const lastRead = Number(kept.get(readKey));
if (lastRead && more && messages.firstId > lastRead) behind = lastRead;
else if (lastRead) messages.markUnreadAfter(lastRead, me);
if (me) for (const { text, clientId } of unconfirmed.all()) send(text, clientId);
if (composer && !matchMedia("(pointer: coarse)").matches) composer.focus();
menu.stop();
messages.toEnd();
if (messages.count < FIRST_MESSAGES) loadOlder();
