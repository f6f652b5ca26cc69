// The consumer's story: group, pending first, new, acknowledge, malformed data, restart, claim, health.

import assert from 'node:assert/strict';
import { Consumer } from './consumer.js';
import { SMALLER_ID, failsWith, pick, same, story } from './harness.js';

const BLOCK_MS = 50;
export const OTHER = 'consumer-host-2';

function options(bench, name = story.consumer) {
  return {
    stream: bench.key(), deadLetters: bench.key('dead-letters'), group: story.group, name, count: 2,
    deadLetterReason: story.deadLetterReason,
  };
}

async function publish(client, stream) {
  for (const { id, message } of story.messages) same(await client.xAdd(stream, id, message), id, 'XADD');
}

/** A stream with the story's events and its group, of which `name` has been given the first `count`. */
export async function delivered(bench, client, name, count) {
  const stream = bench.key();
  await publish(client, stream);
  await client.xGroupCreate(stream, story.group, '0');
  if (count > 0) {
    const reply = await client.xReadGroup(story.group, name, { key: stream, id: '>' }, { COUNT: count });
    same(reply, [{ name: stream, messages: story.messages.slice(0, count) }], 'XREADGROUP');
  }
  return stream;
}

export const rows = async (client, stream) =>
  (await client.xPendingRange(stream, story.group, '-', '+', 10)).map((row) => [row.id, row.consumer, row.deliveriesCounter]);

export const consumerCases = {
  async 'the protocol asked for is spoken'(bench) {
    const client = await bench.open();
    const hello = await client.sendCommand(['HELLO']);
    same(bench.RESP === 3 ? hello.proto : hello[hello.indexOf('proto') + 1], bench.RESP, 'proto');
    same(await client.ping(), 'PONG', 'PING');
  },

  async 'a group is created once, and BUSYGROUP is tolerated'(bench) {
    const client = await bench.open();
    const consumer = new Consumer(client, options(bench));
    same(await client.xGroupCreate(bench.key(), story.group, '0', { MKSTREAM: true }), 'OK', 'XGROUP CREATE');
    await failsWith(client.xGroupCreate(bench.key(), story.group, '0', { MKSTREAM: true }), 'BUSYGROUP Consumer Group name already exists');
    await consumer.setUpGroup();
    same(await client.xInfoGroups(bench.key()), [{
      name: story.group, consumers: 0, pending: 0, 'last-delivered-id': '0-0', 'entries-read': null, lag: 0,
    }], 'XINFO GROUPS');
  },

  async 'the consumer handles, retries, sets aside and acknowledges'(bench) {
    const client = await bench.open();
    const handled = [];
    let failures = 0;
    const consumer = new Consumer(client, options(bench), async (id, type, { userId }) => {
      if (id === story.failsOnce && failures++ === 0) throw new Error('try again');
      handled.push(`${id} ${type} ${userId}`);
    });
    await consumer.setUpGroup();
    await publish(client, consumer.stream);
    const seen = [];
    for (let turn = 0; turn < 4; turn += 1) seen.push(await consumer.turn(BLOCK_MS));

    // The second turn meets the entry that failed, then the next two new ones.
    same(seen, [2, 3, 1, 0], 'entries per turn');
    same(handled, story.handled, 'handled');
    const letters = await client.xRange(consumer.deadLetters, '-', '+');
    const malformed = story.messages.find(({ id }) => id === story.malformed);
    same(letters.map(({ message }) => message),
      [{ originalId: malformed.id, reason: story.deadLetterReason, ...malformed.message }], 'dead letters');
    same(await client.xPending(consumer.stream, story.group), { pending: 0, firstId: null, lastId: null, consumers: null }, 'XPENDING');
    same(await client.xInfoGroups(consumer.stream), [{
      name: story.group, consumers: 1, pending: 0, 'last-delivered-id': story.ids.at(-1), 'entries-read': 5, lag: 0,
    }], 'XINFO GROUPS');
  },

  async 'after a restart the same name finds what it held'(bench) {
    const crashing = await bench.open();
    const stream = await delivered(bench, crashing, story.consumer, 2);
    crashing.destroy();

    const client = await bench.open();
    same(await rows(client, stream), story.ids.slice(0, 2).map((id) => [id, story.consumer, 1]), 'before');
    const met = [];
    const consumer = new Consumer(client, options(bench), async (id) => met.push(id));
    same(await consumer.processPending(), 2, 'pending after the restart');
    same(met, story.ids.slice(0, 2), 'met');
    same(await rows(client, stream), [], 'after');
    const other = new Consumer(client, options(bench, OTHER), assert.fail);
    same(await other.processPending(), 0, 'pending of another name');
  },

  async 'history is read page by page and counts deliveries'(bench) {
    const client = await bench.open();
    const stream = await delivered(bench, client, story.consumer, 3);
    const page = (id) => client.xReadGroup(story.group, story.consumer, { key: stream, id }, { COUNT: 2, BLOCK: BLOCK_MS });
    same(await page('0'), [{ name: stream, messages: story.messages.slice(0, 2) }], 'first page');
    same(await page(story.ids[1]), [{ name: stream, messages: story.messages.slice(2, 3) }], 'second page');
    same(await page(story.ids[2]), [{ name: stream, messages: [] }], 'end');
    same(await rows(client, stream), story.ids.slice(0, 3).map((id) => [id, story.consumer, 2]), 'XPENDING');
  },

  // xReadGroup of this library throws a TypeError on such a row, so the reply is read as it comes.
  async 'history shows a deleted entry as null'(bench) {
    const client = await bench.open();
    const stream = await delivered(bench, client, story.consumer, 2);
    same(await client.xDel(stream, story.ids[0]), 1, 'XDEL');
    const raw = await client.sendCommand(['XREADGROUP', 'GROUP', story.group, story.consumer, 'STREAMS', stream, '0']);
    const expected = [[story.ids[0], null], [story.ids[1], story.events[1].fields.flat()]];
    same(raw, bench.RESP === 3 ? { [stream]: expected } : [[stream, expected]], 'history');
  },

  async 'the rows of a dead consumer are claimed'(bench) {
    const client = await bench.open();
    const stream = await delivered(bench, client, 'dead', 4);
    const [first, second, third, fourth] = story.ids;

    same(await client.xAutoClaim(stream, story.group, story.consumer, 3_600_000, '0-0'),
      { nextId: '0-0', messages: [], deletedMessages: [] }, 'too young');
    same(await client.xAutoClaim(stream, story.group, story.consumer, 0, '0-0', { COUNT: 1 }),
      { nextId: second, messages: [story.messages[0]], deletedMessages: [] }, 'XAUTOCLAIM');
    same(await client.xClaim(stream, story.group, story.consumer, 0, [second, '1-1']), [story.messages[1]], 'XCLAIM');
    same(await client.xClaimJustId(stream, story.group, story.consumer, 0, third), [third], 'XCLAIM JUSTID');
    same(await rows(client, stream), [
      [first, story.consumer, 2], [second, story.consumer, 2], [third, story.consumer, 1], [fourth, 'dead', 1],
    ], 'XPENDING');

    same(await client.xDel(stream, fourth), 1, 'XDEL');
    same(await client.xAutoClaim(stream, story.group, story.consumer, 0, fourth),
      { nextId: '0-0', messages: [], deletedMessages: [fourth] }, 'XAUTOCLAIM of a deleted entry');
    same(await client.xAck(stream, story.group, [first, second, third, fourth]), 3, 'XACK');
    same(await client.xGroupDelConsumer(stream, story.group, 'dead'), 0, 'XGROUP DELCONSUMER');
  },

  async 'the health check reads summaries by their true shape'(bench) {
    const client = await bench.open();
    const stream = await delivered(bench, client, story.consumer, 2);
    await client.xReadGroup(story.group, OTHER, { key: stream, id: '>' }, { COUNT: 1 });

    same(await client.xLen(stream), 5, 'XLEN');
    same(await client.xPending(stream, story.group), {
      pending: 3, firstId: story.ids[0], lastId: story.ids[2],
      consumers: [{ name: story.consumer, deliveriesCounter: 2 }, { name: OTHER, deliveriesCounter: 1 }],
    }, 'XPENDING');
    same(await client.xInfoGroups(stream), [{
      name: story.group, consumers: 2, pending: 3, 'last-delivered-id': story.ids[2], 'entries-read': 3, lag: 2,
    }], 'XINFO GROUPS');
    const consumers = await client.xInfoConsumers(stream, story.group);
    same(consumers.map((c) => pick(c, 'name', 'pending')),
      [{ name: story.consumer, pending: 2 }, { name: OTHER, pending: 1 }], 'XINFO CONSUMERS');
    assert.ok(consumers.every(({ idle }) => Number.isInteger(idle) && idle >= 0 && idle < 60_000), 'idle in milliseconds');
    const info = pick(await client.xInfoStream(stream), 'length', 'radix-tree-keys', 'radix-tree-nodes', 'last-generated-id',
      'max-deleted-entry-id', 'entries-added', 'recorded-first-entry-id', 'groups', 'first-entry', 'last-entry');
    same(info, {
      length: 5, 'radix-tree-keys': 1, 'radix-tree-nodes': 2, 'last-generated-id': story.ids[4],
      'max-deleted-entry-id': '0-0', 'entries-added': 5, 'recorded-first-entry-id': story.ids[0], groups: 1,
      'first-entry': story.messages[0], 'last-entry': story.messages[4],
    }, 'XINFO STREAM');
  },

  async 'a hole ahead of the group makes its lag unknown'(bench) {
    const client = await bench.open();
    const stream = await delivered(bench, client, story.consumer, 1);
    await client.xDel(stream, story.ids[3]);
    same(await client.xInfoGroups(stream), [{
      name: story.group, consumers: 1, pending: 1, 'last-delivered-id': story.ids[0], 'entries-read': 1, lag: null,
    }], 'XINFO GROUPS');
  },

  async 'a missing group or stream is named in the error'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    const read = () => client.xReadGroup(story.group, story.consumer, { key: stream, id: '>' });
    const nogroup = `NOGROUP No such key '${stream}' or consumer group '${story.group}' in XREADGROUP with GROUP option`;
    await failsWith(read(), nogroup);
    await failsWith(client.xInfoStream(stream), 'ERR no such key');
    await failsWith(client.xGroupCreate(stream, story.group, '0'), 'ERR The XGROUP subcommand requires the key to exist. '
      + 'Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.');
    await publish(client, stream);
    await failsWith(client.xAdd(stream, '1-1', { a: '1' }), SMALLER_ID);
    same(await client.xGroupCreate(stream, story.group, '$'), 'OK', 'XGROUP CREATE');
    same(await read(), null, 'nothing new');
    same(await client.xGroupDestroy(stream, story.group), 1, 'XGROUP DESTROY');
    await failsWith(read(), nogroup);
  },
};
