/**
 * Drives stock clients by calls: a call comes in as JSON, its result goes out as JSON. Runs in Node
 * (node.mjs) and in a page (page.mjs).
 *
 * What makes a client is given by its library (cometd.mjs, faye.mjs): an object with a `diary` and
 * the methods `open`, `subscribe`, `unsubscribe`, `publish`, `close`, each returning a promise.
 */

/** How long a call waits for what it waits for, in seconds. */
const PATIENCE = 20;

/**
 * What one client sent and got. When it `keepsPlace`, it says when it subscribes how far it has come
 * in a room, as docs/bayeux.md tells.
 */
export class Diary {
  /** Deliveries: `{subscription, channel, data, timestamp}`. */
  heard = [];
  /** Replies on meta channels, as they came. */
  replies = [];
  /** Meta messages that it sent. */
  sent = [];
  keepsPlace = false;
  #cursors = new Map();
  #came = new Map();
  #looking = new Set();

  add(list, entry) {
    list.push(entry);
    if (list === this.heard) this.#take(entry);
    for (const look of [...this.#looking]) look();
  }

  /** To be called for each message that comes, the way of an extension. */
  incoming(message) {
    if (message.ext?.cursor) this.#came.set(place(message), message.ext.cursor);
    return message;
  }

  /** What a library drops, as of a subscription whose reply was lost, has come and is not heard: it is asked for again. */
  #take(entry) {
    const cursor = this.#came.get(place(entry));
    if (cursor) this.#cursors.set(entry.channel, cursor);
  }

  /** To be called for each message that goes out, after all extensions. */
  outgoing(message) {
    const cursor = this.#cursors.get([message.subscription].flat()[0]);
    const placed = this.keepsPlace && message.channel === "/meta/subscribe" && cursor;
    const outgoing = placed ? { ...message, ext: { ...message.ext, cursor } } : message;
    if (message.channel.startsWith("/meta/")) this.add(this.sent, { ...outgoing });
    return outgoing;
  }

  /** Wait until something is true of what is written here. */
  until(isTrue, what, seconds = PATIENCE) {
    return new Promise((resolve, reject) => {
      const look = () => isTrue() && end(resolve);
      const timer = setTimeout(() => end(() => reject(new Error(`it did not come: ${what()}`))), seconds * 1000);
      const end = (settle) => {
        clearTimeout(timer);
        this.#looking.delete(look);
        settle();
      };
      this.#looking.add(look);
      look();
    });
  }
}

/** What tells a message from all others. */
const place = ({ channel, data }) => `${channel} ${data?.id}`;

/** Is it what is waited for? What was said has a `text`, bytes one in `meta`, who came and went a `type`. */
const says = (data, wanted) => [data?.text, data?.type, data?.meta?.text].includes(wanted);

export class Driver {
  #makers;
  #clients = new Map();

  /** @param makers makes a client, by the name of its library */
  constructor(makers) {
    this.#makers = makers;
  }

  /** @param call such as `{call: "publish", client: "alice", channel: "/app/x", data: 1}` */
  async do({ call, client: name, ...rest }) {
    if (call === "open") {
      if (this.#clients.has(name)) throw new Error(`there is a client ${name} already`);
      this.#clients.set(name, this.#makers[rest.library](rest));
    }
    const client = this.#clients.get(name);
    if (call === "close") this.#clients.delete(name);
    const late = new Promise((_, reject) => {
      setTimeout(() => reject(new Error(`${call} takes too long`)), PATIENCE * 1000);
    });
    return await Promise.race([this[`_${call}`](client, rest), late]);
  }

  /** The same, as a line of JSON each. */
  async answer(line) {
    return JSON.stringify((await this.do(JSON.parse(line))) ?? null);
  }

  async _open(client) {
    return await client.open();
  }

  async _subscribe(client, { channels }) {
    return await Promise.all(channels.map((channel) => client.subscribe(channel)));
  }

  async _unsubscribe(client, { channel }) {
    return await client.unsubscribe(channel);
  }

  async _publish(client, { channel, data }) {
    return await client.publish(channel, data);
  }

  async _publishBinary(client, { channel, bytes, meta }) {
    return await client.publishBinary(channel, bytes, meta);
  }

  /** Publish many at once; the replies. */
  async _publishAll(client, { channel, all }) {
    return await client.publishAll(channel, all);
  }

  /** What was heard after the first so many, once a certain text or type was. */
  async _hear(client, { until, after, seconds }) {
    const { heard } = client.diary;
    const last = () => `${until}; heard: ${JSON.stringify(heard.slice(-5))}`;
    // Each is looked at once, however many come.
    let looked = 0;
    const hasCome = () => {
      while (looked < heard.length) if (says(heard[looked++].data, until)) return true;
      return false;
    };
    await client.diary.until(hasCome, last, seconds);
    return heard.slice(after);
  }

  /** The replies on a channel, once there are so many, or so many more than there are now. */
  async _replies(client, { channel, count = 0, more = 0, seconds }) {
    const those = () => client.diary.replies.filter((each) => each.channel === channel);
    const wanted = count || those().length + more;
    const what = () => `${wanted} replies on ${channel}; replies: ${JSON.stringify(those().slice(-5))}`;
    await client.diary.until(() => those().length >= wanted, what, seconds);
    return those();
  }

  /** Once it has connected by a transport: which messages it has sent on a meta channel. */
  async _sent(client, { channel, transport }) {
    const { sent } = client.diary;
    const hasCome = () => !transport || sent.some(({ connectionType }) => connectionType === transport);
    await client.diary.until(hasCome, () => `a connect by ${transport}`);
    return sent.filter((each) => each.channel === channel);
  }

  async _keepPlace(client, { keeps }) {
    client.diary.keepsPlace = keeps;
  }

  async _facts(client) {
    return client.facts();
  }

  async _reload(client) {
    client.reload();
  }

  async _close(client) {
    return await client.close();
  }
}
