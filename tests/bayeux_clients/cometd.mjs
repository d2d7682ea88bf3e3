/** The library `cometd`, used as its manual says. */

import { Diary } from "./driver.mjs";

const plain = ({ failure, ...message }) => (failure ? { ...message, failure: failure.reason ?? "failed" } : message);

/** @param library the module `cometd` */
export const makeCometd = (library) => (options) => new CometdClient(library, options);

class CometdClient {
  diary = new Diary();
  #cometd;
  #handshake;
  #subscriptions = new Map();

  constructor(library, { url, transport, ext, extensions = [], name = "default" }) {
    this.#cometd = new library.CometD(name);
    for (const type of this.#cometd.getTransportTypes()) {
      if (transport && type !== transport) this.#cometd.unregisterTransport(type);
    }
    // A short back-off, so that a test need not wait for it; and batches of a thousand messages.
    this.#cometd.configure({ url, logLevel: "warn", backoffIncrement: 100, maxSendBayeuxMessageSize: 250_000 });
    this.#handshake = ext ? { ext } : {};
    // The first to be registered is the last to see what goes out.
    this.#cometd.registerExtension("diary", {
      incoming: (message) => this.diary.incoming(message),
      outgoing: (message) => this.diary.outgoing(message),
    });
    const made = {
      ack: () => new library.AckExtension(),
      binary: () => new library.BinaryExtension(),
      reload: () => new library.ReloadExtension(),
      timesync: () => new library.TimeSyncExtension(),
      timestamp: () => new library.TimeStampExtension(),
    };
    for (const each of extensions) this.#cometd.registerExtension(each, made[each]());
    this.#cometd.addListener("/meta/*", (message) => this.diary.add(this.diary.replies, plain(message)));
    this.#cometd.addListener("/meta/handshake", ({ successful }) => successful && this.#subscribeAgain());
  }

  // A new session knows of no subscription: the manual has the application subscribe again.
  #subscribeAgain() {
    this.#cometd.batch(() => {
      for (const channel of this.#subscriptions.keys()) this.#listen(channel);
    });
  }

  #listen(channel, whenDone) {
    const hear = ({ channel: from, data, timestamp, ext }) => {
      // Bytes go out of here as an array of numbers.
      if (data?.data instanceof ArrayBuffer) data = { ...data, data: [...new Uint8Array(data.data)] };
      this.diary.add(this.diary.heard, { subscription: channel, channel: from, data, timestamp, ext });
    };
    const done = whenDone ?? ((reply) => this.#lost(channel, reply));
    this.#subscriptions.set(channel, this.#cometd.subscribe(channel, hear, done));
  }

  // Nobody subscribes again where the connection was lost meanwhile; the session may well go on.
  #lost(channel, reply) {
    if (!reply.failure) return;
    setTimeout(() => {
      const subscription = this.#subscriptions.get(channel);
      if (!subscription || this.#cometd.isDisconnected()) return;
      this.#cometd.removeListener(subscription);
      this.#listen(channel);
    }, 200);
  }

  async open() {
    const reply = await new Promise((resolve) => this.#cometd.handshake(this.#handshake, resolve));
    return plain(reply);
  }

  async subscribe(channel) {
    return plain(await new Promise((resolve) => this.#listen(channel, resolve)));
  }

  async unsubscribe(channel) {
    const subscription = this.#subscriptions.get(channel);
    this.#subscriptions.delete(channel);
    return plain(await new Promise((resolve) => this.#cometd.unsubscribe(subscription, resolve)));
  }

  async publish(channel, data) {
    return plain(await new Promise((resolve) => this.#cometd.publish(channel, data, resolve)));
  }

  /** @param bytes an array of numbers */
  async publishBinary(channel, bytes, meta) {
    const { buffer } = new Uint8Array(bytes);
    return plain(await new Promise((resolve) => this.#cometd.publishBinary(channel, buffer, true, meta, {}, resolve)));
  }

  /** In one batch, which is one frame or request. */
  async publishAll(channel, all) {
    let replies = [];
    this.#cometd.batch(() => {
      replies = all.map((data) => this.publish(channel, data));
    });
    return await Promise.all(replies);
  }

  facts() {
    const timesync = this.#cometd.getExtension("timesync");
    return {
      status: this.#cometd.getStatus(),
      clientId: this.#cometd.getClientId(),
      offset: timesync?.getTimeOffset(),
    };
  }

  /** Before its page is loaded again. */
  reload() {
    this.#cometd.reload();
  }

  async close() {
    return plain(await new Promise((resolve) => this.#cometd.disconnect(resolve)));
  }
}
