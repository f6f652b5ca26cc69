// A consumer of user events: its own pending entries first, then new ones, acknowledged one by one.
//
// The consumer's name is stable, so that after a restart it finds what it held. History is read with a cursor,
// so that an entry which keeps failing cannot hide the ones behind it. An entry is acknowledged only after its
// handler returned; one that can never be handled (its data is not JSON) is set aside and acknowledged in one
// transaction, so that it is never in both places or in neither.

export class Consumer {
  constructor(redis, { stream, deadLetters, group, name, count, deadLetterReason }, handler) {
    Object.assign(this, { redis, stream, deadLetters, group, name, count, deadLetterReason, handler });
  }

  async setUpGroup() {
    try {
      await this.redis.xgroup('CREATE', this.stream, this.group, '0', 'MKSTREAM');
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
      const entries = await this.read(cursor);
      if (entries.length === 0) return seen;
      for (const [id, fields] of entries) await this.process(id, fields);
      cursor = entries.at(-1)[0];
      seen += entries.length;
    }
  }

  async processNew(blockMs) {
    const entries = await this.read('>', 'BLOCK', blockMs);
    for (const [id, fields] of entries) await this.process(id, fields);
    return entries.length;
  }

  /** A time-out of BLOCK answers null. Streams come as pairs, or as an object with replyMapping "resp3". */
  async read(id, ...block) {
    const reply = await this.redis.xreadgroup(
      'GROUP', this.group, this.name, 'COUNT', this.count, ...block, 'STREAMS', this.stream, id);
    if (reply === null) return [];
    return Array.isArray(reply) ? reply[0][1] : reply[this.stream];
  }

  async process(id, fields) {
    const event = toObject(fields);
    let data;
    try {
      data = JSON.parse(event.data);
    } catch {
      return this.setAside(id, fields);
    }
    try {
      await this.handler(id, event.eventType, data);
    } catch {
      return; // stays pending, and the next turn meets it again
    }
    await this.redis.xack(this.stream, this.group, id);
  }

  async setAside(id, fields) {
    await this.redis.multi()
      .xadd(this.deadLetters, '*', 'originalId', id, 'reason', this.deadLetterReason, ...fields)
      .xack(this.stream, this.group, id)
      .exec();
  }
}

function toObject(fields) {
  const object = {};
  for (let i = 0; i < fields.length; i += 2) object[fields[i]] = fields[i + 1];
  return object;
}
