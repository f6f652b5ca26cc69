// A consumer of user events: its own pending entries first, then new ones, acknowledged one by one.
//
// The consumer's name is stable, so that after a restart it finds what it held. History is read with a cursor,
// so that an entry which keeps failing cannot hide the ones behind it. An entry is acknowledged only after its
// handler returned; one that can never be handled (its data is not JSON) is set aside and acknowledged in one
// transaction, so that it is never in both places or in neither.

export class Consumer {
  constructor(client, { stream, deadLetters, group, name, count, deadLetterReason }, handler) {
    Object.assign(this, { client, stream, deadLetters, group, name, count, deadLetterReason, handler });
  }

  async setUpGroup() {
    try {
      await this.client.xGroupCreate(this.stream, this.group, '0', { MKSTREAM: true });
    } catch (error) {
      if (!error.message.includes('BUSYGROUP')) throw error;
    }
  }

  /** One turn of the consumer's loop. Returns how many entries it saw. */
  async turn(blockMs) {
    const pending = await this.processPending();
    return pending + await this.processNew(blockMs);
  }

  async processPending() {
    let cursor = '0';
    let seen = 0;
    for (;;) {
      const messages = await this.read(cursor, { COUNT: this.count });
      if (messages.length === 0) return seen;
      for (const message of messages) await this.process(message);
      cursor = messages.at(-1).id;
      seen += messages.length;
    }
  }

  async processNew(blockMs) {
    const messages = await this.read('>', { COUNT: this.count, BLOCK: blockMs });
    for (const message of messages) await this.process(message);
    return messages.length;
  }

  /** A time-out of BLOCK answers null; history always answers the stream, with no messages at its end. */
  async read(id, options) {
    const reply = await this.client.xReadGroup(this.group, this.name, { key: this.stream, id }, options);
    return reply === null ? [] : reply[0].messages;
  }

  async process({ id, message }) {
    let data;
    try {
      data = JSON.parse(message.data);
    } catch {
      return this.setAside(id, message);
    }
    try {
      await this.handler(id, message.eventType, data);
    } catch {
      return; // stays pending, and the next turn meets it again
    }
    await this.client.xAck(this.stream, this.group, id);
  }

  async setAside(id, message) {
    const letter = { originalId: id, reason: this.deadLetterReason, ...message };
    await this.client.multi()
      .xAdd(this.deadLetters, '*', letter)
      .xAck(this.stream, this.group, id)
      .exec();
  }
}
