/** The library `faye`, used as its manual says. */

import { Diary } from "./driver.mjs";

/** In the order in which the library prefers them. */
const TRANSPORTS = ["websocket", "eventsource", "long-polling", "cross-origin-long-polling", "callback-polling"];

/** @param library the module `faye` */
export const makeFaye = (library) => (options) => new FayeClient(library, options);

class FayeClient {
  diary = new Diary();
  #faye;
  #ext;
  #subscriptions = new Map();

  constructor(library, { url, transport, ext }) {
    // It tries again soon, so that a test need not wait for it. Beside an event source it would also
    // send a publish again that has no reply after 1.2 times as long, which takes longer on a busy
    // machine: there it has its own 5 s, of which the server knows.
    this.#faye = new library.Client(url, transport === "eventsource" ? {} : { retry: 0.2 });
    this.#ext = ext;
    for (const type of TRANSPORTS.slice(0, TRANSPORTS.indexOf(transport))) this.#faye.disable(type);
    this.#faye.addExtension({
      outgoing: (message, goOn) => goOn(this.#note(message)),
      incoming: (message, goOn) => {
        if (message.channel.startsWith("/meta/")) this.diary.add(this.diary.replies, message);
        goOn(this.diary.incoming(message));
      },
    });
  }

  #note(message) {
    if (message.channel === "/meta/handshake" && this.#ext) message.ext = this.#ext;
    return this.diary.outgoing(message);
  }

  // A refused handshake is tried again for ever, and its promise never ends: the reply is looked at.
  async open() {
    this.#faye.connect();
    const { replies } = this.diary;
    await this.diary.until(() => replies.length > 0, () => "a reply to the handshake");
    return replies[0];
  }

  async subscribe(channel) {
    const subscription = this.#faye.subscribe(channel).withChannel((from, data) =>
      this.diary.add(this.diary.heard, { subscription: channel, channel: from, data }),
    );
    this.#subscriptions.set(channel, subscription);
    return await ended(subscription);
  }

  async unsubscribe(channel) {
    this.#subscriptions.get(channel).cancel();
    const { replies } = this.diary;
    const isReply = (each) => each.channel === "/meta/unsubscribe" && [each.subscription].flat().includes(channel);
    await this.diary.until(() => replies.some(isReply), () => "a reply to unsubscribe");
    return replies.find(isReply);
  }

  async publish(channel, data) {
    return await ended(this.#faye.publish(channel, data));
  }

  facts() {
    return {};
  }

  async close() {
    return await ended(this.#faye.disconnect());
  }
}

/** How it ended, in the form of a reply. */
const ended = async (promise) => {
  try {
    await promise;
    return { successful: true };
  } catch ({ code, params, message }) {
    return { successful: false, error: `${code}:${params}:${message}` };
  }
};
